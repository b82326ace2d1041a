//! What lies on the disk, damaged, read-only or taken away: seen from the command line.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::cli::{AGENT, READS, Running, World};

/// A world with some runs that are done, each with a prompt of its own.
fn with_runs(prompts: &[&str]) -> (World, Vec<String>) {
    let world = World::new(AGENT, &format!("{READS}{}", "  - {text: Again.}\n".repeat(6)));
    for prompt in prompts {
        let said = world.agentd(&["run", "agent.yaml", prompt]);
        assert_eq!(said.code, 0, "{said:#?}");
    }
    let ids = listed(&world).into_iter().rev().map(|(id, _)| id).collect();
    (world, ids)
}

/// All runs with their statuses, newest first.
fn listed(world: &World) -> Vec<(String, String)> {
    let said = world.agentd(&["runs", "--json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    said.json()["runs"].as_array().unwrap().iter().map(|run| (text(run, "run"), text(run, "status"))).collect()
}

/// All files below a directory.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path())),
        }
    }
    found
}

/// Changes one byte of a text in the log.
fn change(world: &World, text: &str) -> PathBuf {
    for file in files(&world.path("home/journal/00/log")) {
        let mut content = fs::read(&file).unwrap();
        if let Some(at) = content.windows(text.len()).position(|window| window == text.as_bytes()) {
            content[at] ^= 1;
            fs::write(&file, content).unwrap();
            return file;
        }
    }
    panic!("{text:?} is nowhere");
}

#[test]
fn one_changed_byte_is_told_and_every_other_run_lists_shows_and_goes_on() {
    let (world, ids) = with_runs(&["the first one", "the second one", "the third one"]);
    let before: Vec<_> = files(&world.path("home")).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    let sound = world.agentd(&["store", "check", "--json"]);
    assert_eq!((sound.code, &sound.json()["ok"]), (0, &json!(true)), "{sound:#?}");
    assert_eq!(sound.json()["stores"][0]["runs"], json!(3));

    let file = change(&world, "the second one");
    let statuses: Vec<String> = listed(&world).into_iter().rev().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["done", "quarantined", "done"]);
    let table = world.agentd(&["runs"]);
    assert!(table.stdout.contains("entries"), "it says what is missing: {table:#?}");
    for (id, code) in ids.iter().zip([0, 9, 0]) {
        let shown = world.agentd(&["runs", "show", id]);
        assert_eq!(shown.code, code, "{shown:#?}");
    }
    let check = world.agentd(&["store", "check"]);
    assert_eq!(check.code, 9, "{check:#?}");
    for said in [format!("run {} is damaged", ids[1]), format!("{} at offset", file.display())] {
        assert!(check.stderr.contains(&said), "{said:?} is missing: {check:#?}");
    }
    let doctor = world.agentd(&["doctor", "--offline"]);
    assert!(doctor.stdout.contains("warning") && doctor.stderr.contains(&ids[1]), "{doctor:#?}");
    // Looking has written nothing.
    for (content, path) in &before {
        assert!(*path == file || fs::read(path).unwrap() == *content, "{} was written", path.display());
    }
    assert_eq!(files(&world.path("home")).len(), before.len());

    let resumed = world.agentd(&["resume", &ids[2], "and once more"]);
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    assert_eq!(world.agentd(&["resume", &ids[1], "and once more"]).code, 9);
    assert_eq!(world.agentd(&["run", "agent.yaml", "a fourth one"]).code, 0);
    let statuses: Vec<String> = listed(&world).into_iter().rev().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["done", "quarantined", "done", "done"]);
}

#[test]
fn a_store_that_cannot_be_read_hides_no_other() {
    let (world, ids) = with_runs(&["hello"]);
    // What an agentd of before the log has left.
    fs::create_dir_all(world.path("home/journal/01/tree")).unwrap();
    let said = world.agentd(&["runs", "--json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.json()["runs"][0]["run"], json!(ids[0]));
    assert!(said.json()["unread"][0].as_str().unwrap().contains("journal/01"), "{said:#?}");
    let table = world.agentd(&["runs"]);
    assert!(table.stderr.contains("runs may be missing") && table.stderr.contains("journal/01"), "{table:#?}");
    assert_eq!(world.agentd(&["runs", "show", &ids[0]]).code, 0);
    assert_eq!(world.agentd(&["run", "agent.yaml", "another"]).code, 0);
    let doctor = world.agentd(&["doctor", "--offline"]);
    assert!(doctor.code == 9 && doctor.stderr.contains("journal/01"), "{doctor:#?}");
    // With nothing else there, it does not say that there are no runs.
    let empty = World::new(AGENT, READS);
    fs::create_dir_all(empty.path("home/journal/00/tree")).unwrap();
    let said = empty.agentd(&["runs"]);
    assert!(said.stderr.contains("move the directory away") && !said.stderr.contains("no runs yet"), "{said:#?}");
}

#[test]
fn a_read_only_home_is_listed_and_shown() {
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: nothing may be mounted here");
        return;
    }
    let (world, ids) = with_runs(&["hello"]);
    let mount = "mount --bind home home && mount -o remount,bind,ro home && exec \"$0\" \"$@\"";
    let read_only = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", mount, env!("CARGO_BIN_EXE_agentd")]).args(args);
        let output = command.current_dir(world.path("")).env("AGENTD_HOME", world.path("home")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stdout, stderr) = read_only(&["runs"]);
    assert!(code == Some(0) && stdout.contains("done"), "{code:?} {stdout} {stderr}");
    let (code, stdout, stderr) = read_only(&["runs", "show", &ids[0]]);
    assert!(code == Some(0) && stdout.contains("It says hello."), "{code:?} {stdout} {stderr}");
    let (code, stdout, stderr) = read_only(&["store", "check"]);
    assert_eq!(code, Some(0), "{stdout} {stderr}");
    let (code, _, stderr) = read_only(&["run", "agent.yaml", "hello"]);
    assert_eq!(code, Some(9), "{stderr}");
}

#[test]
fn a_home_that_is_removed_stops_the_run() {
    let world = World::new(
        AGENT,
        "answers:\n  - {delay: 2s, calls: [{name: files__read, arguments: {path: a.txt}}]}\n  - {text: done}",
    );
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until("model_asked");
    fs::remove_dir_all(world.path("home")).unwrap();
    let (code, stderr) = running.end();
    assert_eq!(code, 9, "{stderr}");
    assert!(stderr.contains("was removed"), "{stderr}");
}

#[test]
fn the_copy_is_made_anew_when_asked_and_needed_by_nobody() {
    let (world, ids) = with_runs(&["hello"]);
    let rebuilt = world.agentd(&["store", "rebuild", "--json"]);
    assert_eq!((rebuilt.code, rebuilt.json()["rebuilt"].as_array().unwrap().len()), (0, 1), "{rebuilt:#?}");
    assert!(world.path("home/journal/00/sled/db").is_file());
    for lost in ["sled", "checkpoint", "mark"] {
        let path = world.path("home/journal/00").join(lost);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
        assert_eq!(world.agentd(&["runs", "show", &ids[0]]).code, 0, "{lost}");
        assert_eq!(world.agentd(&["resume", &ids[0], "again"]).code, 0, "{lost}");
        assert_eq!(world.agentd(&["store", "check"]).code, 0, "{lost}");
    }
}
