//! Several processes on one machine: each drives its runs, all see all runs, and whoever asks reaches a run wherever it is.

use std::{collections::BTreeSet, fs};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{AGENT, READS, Running, Said, WRITES, World};

/// An agent whose model does not answer in time.
const STUCK: &str = "answers: [{delay: 120s, text: late}]";

/// Starts a run and reads on until an entry of this type.
fn start(world: &World, until: &str) -> (Running, String) {
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until(until);
    let newest = world.agentd(&["runs", "--json"]).json()["runs"][0]["run"].as_str().unwrap().to_owned();
    (running, newest)
}

/// The statuses of all runs, by id.
fn statuses(world: &World) -> Vec<(String, String)> {
    let runs = world.agentd(&["runs", "--json"]).json()["runs"].as_array().unwrap().clone();
    let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    runs.iter().map(|run| (text(run, "run"), text(run, "status"))).collect()
}

fn error(said: &Said) -> (i32, String) {
    (said.code, said.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn four_processes_run_at_once_and_a_fifth_is_told_of_them() {
    let world = World::new(AGENT, STUCK);
    let mut running: Vec<(Running, String)> = (0..4).map(|_| start(&world, "model_asked")).collect();
    let ids: BTreeSet<&String> = running.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4);
    assert!(statuses(&world).iter().all(|(_, status)| status == "running"), "{:?}", statuses(&world));

    let fifth = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!(error(&fifth), (9, "slots_taken".to_owned()), "{fifth:#?}");
    for (process, _) in &running {
        assert!(fifth.stderr.contains(&process.child.id().to_string()), "{fifth:#?}");
    }

    let (first, freed) = running.remove(0);
    first.signal(Signal::TERM);
    assert_eq!(first.end().0, 143);
    let place = statuses(&world).into_iter().find(|(id, _)| *id == freed);
    assert_eq!(place, Some((freed, "interrupted".to_owned())));
    let (sixth, _) = start(&world, "model_asked");
    for process in running.into_iter().map(|(process, _)| process).chain([sixth]) {
        process.signal(Signal::TERM);
        assert_eq!(process.end().0, 143);
    }
    assert_eq!(statuses(&world).iter().filter(|(_, status)| status == "interrupted").count(), 5);
}

#[test]
fn what_a_killed_process_left_is_seen_as_it_is() {
    let world = World::new(AGENT, READS);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 0);
    let stuck = fs::read_to_string(world.path("script.yaml")).unwrap();
    world.write("script.yaml", &format!("version: 1\n{STUCK}\n"));
    let (running, killed) = start(&world, "model_asked");
    // The index says that the run is driven, and nobody is left who could say otherwise.
    running.signal(Signal::KILL);
    drop(running.child.wait_with_output());
    let seen: Vec<String> = statuses(&world).into_iter().map(|(_, status)| status).collect();
    assert_eq!(seen, ["interrupted", "done"]);

    world.write("script.yaml", &stuck);
    assert_eq!(world.agentd(&["resume", &killed]).code, 0);
    let seen: Vec<String> = statuses(&world).into_iter().map(|(_, status)| status).collect();
    assert_eq!(seen, ["done", "done"]);

    // An index of a crashed process that had not come to write the end is not believed.
    let index = world.path("home/journal/00/index");
    let closed = fs::read_to_string(&index).unwrap();
    let stale: Vec<&str> = closed.lines().filter(|line| !line.contains("closed")).collect();
    assert!(stale.len() < closed.lines().count(), "{closed}");
    let stale = format!("{}\n", stale.join("\n").replace("done", "running"));
    fs::write(&index, stale).unwrap();
    let seen: Vec<String> = statuses(&world).into_iter().map(|(_, status)| status).collect();
    assert_eq!(seen, ["done", "done"]);
    fs::remove_file(&index).unwrap();
    assert_eq!(world.agentd(&["runs", "show", &killed, "--json"]).json()["status"], json!("done"));
}

/// What `runs show` says of the newest run.
fn entries_of(world: &World, kind: &str) -> Vec<Value> {
    let entries = world.show()["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["type"] == kind).collect()
}

#[test]
fn a_run_of_another_process_is_seen_and_cancelled_during_a_model_stream() {
    let world = World::new(AGENT, STUCK);
    let (mut running, id) = start(&world, "model_asked");
    let pid = running.child.id();
    let listed = world.agentd(&["runs", "--json"]).json();
    assert_eq!((&listed["runs"][0]["status"], &listed["runs"][0]["pid"]), (&json!("running"), &json!(pid)));
    let shown = world.agentd(&["runs", "show", "@last", "--json"]).json();
    assert_eq!((&shown["run"], &shown["status"]), (&json!(id), &json!("running")));

    let mut watching = Running::start(world.command(&["runs", "watch", &id, "--stream-json"]));
    watching.until("model_asked");
    let resumed = world.agentd(&["resume", &id, "--json"]);
    assert_eq!(error(&resumed), (9, "driven_elsewhere".to_owned()), "{resumed:#?}");
    assert!(resumed.stderr.contains(&format!("agentd runs watch {id}")), "{resumed:#?}");

    let cancelled = world.agentd(&["cancel", &id, "--json"]);
    assert_eq!(cancelled.code, 0, "{cancelled:#?}");
    running.until("ended");
    assert_eq!(running.end().0, 130);
    watching.until("ended");
    let (code, stderr) = watching.end();
    assert_eq!((code, stderr.contains("cancelled")), (130, true), "{stderr}");
    assert_eq!(world.agentd(&["runs", "--json"]).json()["runs"][0]["status"], json!("cancelled"));
}

#[test]
fn cancelling_a_read_ends_the_run_and_cancelling_a_write_leaves_a_doubt() {
    for (tool, doubts) in [("look", 0), ("put", 1)] {
        let world = World::slow(tool);
        let agent = fs::read_to_string(world.path("agent.yaml")).unwrap();
        let mut agent: Value = serde_json::from_str(&agent).unwrap();
        agent["policy"] = json!({"slow.*": {"approve": "allow"}});
        world.write("agent.yaml", &agent.to_string());
        let (running, id) = start(&world, "tool_started");
        assert_eq!(world.agentd(&["cancel", &id]).code, 0);
        let (code, stderr) = running.end();
        assert_eq!(code, 130, "{tool}: {stderr}");
        assert_eq!(entries_of(&world, "tool_finished").len(), 0, "{tool}");
        let lost = entries_of(&world, "call_lost").len();
        assert!(lost >= doubts, "{tool}: {lost} lost");
        assert_eq!(world.show()["status"], json!("cancelled"), "{tool}");
    }
}

#[test]
fn input_and_limits_reach_a_run_of_another_process() {
    let world = World::new(AGENT, STUCK);
    let (mut running, id) = start(&world, "model_asked");
    let told = world.agentd(&["resume", &id, "and the other one", "--max-turns", "7"]);
    assert_eq!(told.code, 0, "{told:#?}");
    assert!(told.stderr.contains(&format!("process {} drives it", running.child.id())), "{told:#?}");
    running.until("limits_changed");
    let given = running.until("input_given").to_string();
    assert!(given.contains("and the other one"), "{given}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, 143);
}

#[test]
fn a_call_is_approved_once_and_who_comes_late_is_told() {
    let world = World::new(AGENT, WRITES);
    // Nobody attends, so the run is parked; two processes decide at once.
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let deciding: Vec<_> = [["approve", "@last", "t1c1"], ["deny", "@last", "t1c1"]]
        .map(|args| world.command(&args).stderr(std::process::Stdio::piped()).spawn().unwrap())
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let codes: BTreeSet<_> = deciding.iter().map(|output| output.status.code().unwrap()).collect();
    assert_eq!(codes, BTreeSet::from([0, 2]), "{deciding:?}");
    let late = deciding.iter().find(|output| output.status.code() == Some(2)).unwrap();
    let told = String::from_utf8_lossy(&late.stderr);
    assert!(told.contains("t1c1 is decided already: "), "{told}");
    assert_eq!(entries_of(&world, "approval_given").len(), 1);
    assert_eq!(world.agentd(&["resume", "@last"]).code, 0);
}

#[test]
fn the_control_socket_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;

    let world = World::new(AGENT, STUCK);
    let runtime = world.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
    let mut running = Running::start({
        command.env("XDG_RUNTIME_DIR", &runtime);
        command
    });
    running.until("model_asked");
    let sockets = runtime.join("agentd");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = fs::read_dir(&sockets).unwrap().next().unwrap().unwrap().path();
    assert_eq!((mode(&sockets), mode(&socket)), (0o700, 0o600));
    // Another environment finds it all the same.
    assert_eq!(world.agentd(&["runs", "show", "--json"]).json()["status"], json!("running"));
    running.signal(Signal::KILL);
    drop(running.child.wait_with_output());

    // A stale socket is nobody, and is replaced.
    assert!(socket.exists());
    assert_eq!(world.agentd(&["cancel", "@last"]).code, 0);
    let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
    let mut again = Running::start({
        command.env("XDG_RUNTIME_DIR", &runtime);
        command
    });
    again.until("model_asked");
    assert_eq!(world.agentd(&["cancel", "@last"]).code, 0);
    assert_eq!(again.end().0, 130);
    assert!(!socket.exists());
}

/// A run that is parked in the first slot, where it waits for a word.
fn parked() -> (World, String) {
    let world = World::new(AGENT, WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let id = statuses(&world)[0].0.clone();
    world.write("script.yaml", &format!("version: 1\n{STUCK}\n"));
    (world, id)
}

#[test]
fn who_starts_keeps_out_of_the_way_of_parked_runs() {
    let (world, id) = parked();
    let (running, _) = start(&world, "model_asked");
    world.write("script.yaml", &format!("version: 1\n{WRITES}\n"));
    assert_eq!(world.agentd(&["approve", &id]).code, 0);
    let resumed = world.agentd(&["resume", &id]);
    assert_eq!((resumed.code, &*resumed.stdout), (0, "Written.\n"), "{resumed:#?}");
    let seen: Vec<String> = statuses(&world).into_iter().map(|(_, status)| status).collect();
    assert_eq!(seen, ["running", "done"]);
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, 143);
}

#[test]
fn a_run_whose_slot_somebody_works_in_is_answered_and_waits() {
    let (world, id) = parked();
    let mut running: Vec<(Running, String)> = (0..4).map(|_| start(&world, "model_asked")).collect();
    world.write("script.yaml", &format!("version: 1\n{WRITES}\n"));
    let busy = world.agentd(&["resume", &id, "--json"]);
    assert_eq!(error(&busy), (9, "slot_busy".to_owned()), "{busy:#?}");
    // The other slots were free when the first three came.
    let (last, _) = running.pop().unwrap();
    let pid = last.child.id();
    for said in [
        format!("it is parked in the slot that process {pid} drives other runs in"),
        format!("goes on when that process has ended: agentd resume {id}"),
        format!("kill {pid}"),
    ] {
        assert!(busy.stderr.contains(&said), "{said:?} is missing: {}", busy.stderr);
    }
    assert_eq!(world.agentd(&["approve", &id]).code, 0);
    let told = world.agentd(&["resume", &id, "and say so"]);
    assert_eq!(told.code, 0, "{told:#?}");
    assert!(told.stderr.contains(&format!("resume with: agentd resume {id}")), "{told:#?}");
    assert!(!world.path("notes/b.txt").exists());
    // Nobody waits until it is gone.
    last.signal(Signal::KILL);
    let resumed = world.agentd(&["resume", &id]);
    assert_eq!((resumed.code, &*resumed.stdout), (0, "Written.\n"), "{resumed:#?}");
    drop(last.child.wait_with_output());
    for (process, _) in running {
        process.signal(Signal::TERM);
        assert_eq!(process.end().0, 143);
    }
}

#[test]
fn two_who_take_over_all_that_is_left_drive_nothing_twice() {
    let world = World::slow("put");
    let agent = fs::read_to_string(world.path("agent.yaml")).unwrap().replace("30000", "0");
    let mut agent: Value = serde_json::from_str(&agent).unwrap();
    agent["policy"] = json!({"slow.*": {"approve": "allow"}});
    world.write("agent.yaml", &agent.to_string());
    let script = fs::read_to_string(world.path("script.yaml")).unwrap();
    world.write("script.yaml", &format!("version: 1\n{STUCK}\n"));
    let killed: Vec<(Running, String)> = (0..2).map(|_| start(&world, "model_asked")).collect();
    let (live, alive) = start(&world, "model_asked");
    for (process, _) in &killed {
        process.signal(Signal::KILL);
    }
    world.write("script.yaml", &script);
    let both = [(); 2].map(|()| {
        let mut command = world.command(&["resume", "--all"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    });
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    for (process, id) in killed {
        drop(process.child.wait_with_output());
        assert!(statuses(&world).contains(&(id.clone(), "done".to_owned())), "{id}: {:?}", statuses(&world));
    }
    assert!(statuses(&world).contains(&(alive, "running".to_owned())));
    let effects = fs::read_to_string(world.path("effects.log")).unwrap();
    assert_eq!(effects.lines().filter(|line| line.starts_with("put ")).count(), 2, "{effects}");
    live.signal(Signal::TERM);
    assert_eq!(live.end().0, 143);
}
