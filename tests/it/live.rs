//! A run that goes on in one process and is steered from others: approved, refused, mended, resolved, cancelled.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    cli::{Running, Said, World},
    terminal::Terminal,
};

/// What the model says: a read that takes as long as a test wants, and two writes that ask first.
const SCRIPT: &str = "
answers:
  - calls:
      - {name: counter__look, arguments: {text: a}}
      - {name: counter__put, arguments: {text: b}}
      - {name: counter__put, arguments: {text: c}}
  - either:
      - {when: {result: not today}, text: I was told why not.}
      - {text: Done.}
";

/// An agent whose tools write their effects down, outside; `look` does not answer before [`open`].
fn world(script: &str) -> World {
    let world = World::new("", script);
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
    let env = json!({"LOG": world.path("effects.log"), "GATE": world.path("gate")});
    let agent = json!({
        "version": 1, "name": "live", "model": "demo/any",
        "servers": {"counter": {"command": "python3", "args": ["-S", server], "env": env}},
    });
    world.write("agent.yaml", &agent.to_string());
    world
}

fn open(world: &World) {
    world.write("gate", "");
}

/// The writes that happened, in order.
fn puts(world: &World) -> Vec<String> {
    let log = fs::read_to_string(world.path("effects.log")).unwrap_or_default();
    let puts = log.lines().filter_map(|line| line.strip_prefix("put "));
    puts.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

fn put(text: &str) -> String {
    format!("{{\"text\": \"{text}\"}}")
}

/// A run that reads and asks about two writes meanwhile.
fn asking(world: &World) -> Running {
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until("approval_asked");
    running.until("approval_asked");
    running
}

fn entries(world: &World, kind: &str) -> Vec<Value> {
    let entries = world.show()["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["type"] == kind).collect()
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn words_on_its_calls_reach_a_run_and_it_goes_on() {
    let world = world(SCRIPT);
    let mut running = asking(&world);
    // A read is in flight meanwhile.
    let listed = world.agentd(&["runs", "--json"]).json();
    assert_eq!(
        (&listed["runs"][0]["status"], &listed["runs"][0]["waiting"]),
        (&json!("running"), &json!(["approval"]))
    );
    let approved = world.agentd(&["approve", "@last", "t1c2", "--arguments", r#"{"text": "mended"}"#]);
    assert_eq!(approved.code, 0, "{approved:#?}");
    assert!(approved.stderr.contains(&format!("process {} drives it", running.child.id())), "{approved:#?}");
    // Its driver has taken it in: whoever asks next sees it.
    assert_eq!(entries(&world, "approval_given").len(), 1);
    running.until("approval_given");
    let denied = world.agentd(&["deny", "@last", "--reason", "not today", "--json"]);
    assert_eq!((denied.code, &denied.json()["status"]), (0, &json!("running")), "{denied:#?}");
    assert_eq!(puts(&world), [""; 0], "nothing is called before the calls in front of it are settled");
    open(&world);
    running.until("ended");
    assert_eq!(running.end().0, 0);
    assert_eq!(puts(&world), [put("mended")]);
    assert_eq!(world.show()["output"], "I was told why not.");
}

#[test]
fn of_two_who_decide_at_once_one_is_first_and_the_other_is_told() {
    let world = world(SCRIPT);
    let mut running = asking(&world);
    let deciding = [["approve", "@last", "t1c2"], ["deny", "@last", "t1c2"]].map(|args| spawn(world.command(&args)));
    let said: Vec<Said> = deciding.into_iter().map(end).collect();
    let codes: BTreeSet<i32> = said.iter().map(|said| said.code).collect();
    assert_eq!(codes, BTreeSet::from([0, 2]), "{said:#?}");
    let late = said.iter().find(|said| said.code == 2).unwrap();
    assert!(late.stderr.contains("t1c2 is decided already: "), "{late:#?}");
    assert_eq!(entries(&world, "approval_given").len(), 1);
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0, "the other one is still open");
    open(&world);
    running.until("ended");
    assert_eq!(running.end().0, 0);
    let expected = if said[0].code == 0 { vec![put("b"), put("c")] } else { vec![put("c")] };
    assert_eq!(puts(&world), expected);
}

#[test]
fn a_run_that_waits_is_cancelled_wherever_it_is() {
    let world = world(SCRIPT);
    let mut running = asking(&world);
    assert_eq!(world.agentd(&["cancel", "@last"]).code, 0);
    running.until("ended");
    assert_eq!(running.end().0, 130);
    assert_eq!(world.show()["status"], "cancelled");

    open(&world);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let cancelled = world.agentd(&["cancel", "@last", "--json"]);
    assert_eq!((cancelled.code, &cancelled.json()["status"]), (0, &json!("cancelled")), "{cancelled:#?}");
    for args in [&["resume", "@last"][..], &["approve", "@last"], &["cancel", "@last"]] {
        assert_eq!(world.agentd(args).code, 2, "{args:?}");
    }
    assert_eq!(puts(&world), [""; 0]);
}

#[test]
fn what_is_approved_after_its_process_was_killed_runs_once() {
    let world = world(SCRIPT);
    let running = asking(&world);
    running.signal(Signal::KILL);
    // Nobody waits until it is gone. What is to be allowed was looked at.
    world.show();
    let approved = world.agentd(&["approve", "@last", "--all"]);
    assert_eq!(approved.code, 0, "{approved:#?}");
    assert!(approved.stderr.contains("resume with: agentd resume"), "{approved:#?}");
    drop(running.child.wait_with_output());
    open(&world);
    let resumed = world.agentd(&["resume", "@last"]);
    assert_eq!((resumed.code, &*resumed.stdout), (0, "Done.\n"), "{resumed:#?}");
    assert_eq!(puts(&world), [put("b"), put("c")]);
}

#[test]
fn a_run_at_a_terminal_goes_on_with_a_word_from_elsewhere() {
    let script = "
answers:
  - calls: [{name: counter__put, arguments: {text: b}}]
  - calls: [{name: counter__wipe, arguments: {text: c}}]
  - text: Done.
";
    let world = world(script);
    let agent = fs::read_to_string(world.path("agent.yaml")).unwrap();
    let mut agent: Value = serde_json::from_str(&agent).unwrap();
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    until(|| world.agentd(&["runs"]).stdout.contains("  waits for approval  live  "));
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    terminal.until("this needs no answer any more; press Enter");
    terminal.types("");
    terminal.until("? counter.wipe");
    terminal.until("[l]ater:");
    assert_eq!(world.agentd(&["deny", "@last", "t2c1"]).code, 0);
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, &*stdout), (0, "Done.\n"), "{seen}");
    assert_eq!(puts(&world), [put("b")]);

    // The outcome of a call that its server died over is unknown, until somebody knows it.
    agent["policy"] = json!({"counter.*": {"approve": "allow"}});
    // The second half of it is for whoever kills the server then.
    agent["servers"]["counter"]["env"]["SLOW_MS"] = json!("10000");
    world.write("agent.yaml", &agent.to_string());
    world.write(
        "script.yaml",
        "version: 1\nanswers: [{calls: [{name: counter__wipe, arguments: {text: c}}]}, {text: Done.}]\n",
    );
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    // A call that its server has not got yet would be known not to have happened.
    let log = || fs::read_to_string(world.path("effects.log")).unwrap();
    until(|| log().lines().any(|line| line.starts_with("wipe ")));
    let log = log();
    let server = log.lines().filter_map(|line| line.strip_prefix("start ")).next_back().unwrap();
    kill_process(Pid::from_raw(server.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    terminal.until("[l]ater:");
    let resolved = world.agentd(&["resolve", "@last", "t1c1", "--happened"]);
    assert_eq!(resolved.code, 0, "{resolved:#?}");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, &*stdout), (0, "Done.\n"), "{seen}");
    assert_eq!(entries(&world, "doubt_resolved").len(), 1);
}

/// Waits until something holds that another process brings about.
fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_is_cancelled_while_its_servers_start() {
    let world = World::new("", "answers: [{text: Done.}]");
    let sleeper = ["-c", "import time; time.sleep(600)"];
    let agent = json!({
        "version": 1, "name": "slow", "model": "demo/any",
        "servers": {"slow": {"command": "python3", "args": sleeper}},
    });
    world.write("agent.yaml", &agent.to_string());
    for (cancel, code, status) in [(true, 130, "cancelled"), (false, 143, "interrupted")] {
        let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
        running.until("input_given");
        match cancel {
            true => assert_eq!(world.agentd(&["cancel", "@last"]).code, 0),
            false => running.signal(Signal::TERM),
        }
        assert_eq!(running.end().0, code);
        assert_eq!(world.agentd(&["runs", "--json"]).json()["runs"][0]["status"], status);
    }
}
