//! Start keys: however often and from wherever a run is started with one, it is started once.

use std::{
    fs,
    process::{Child, Stdio},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    cli::{Running, Said, World},
    terminal::{self, Terminal, agentd},
};

const KEYED: [&str; 5] = ["run", "agent.yaml", "go", "--key", "nightly"];

/// An agent whose tool writes each of its effects down, outside; `approve` says whether it asks first.
fn world(delay: &str, approve: &str) -> World {
    let script = format!(
        "answers:\n  - {{delay: {delay}, calls: [{{name: counter__put, arguments: {{text: a}}}}]}}\n  - {{text: Put.}}\n"
    );
    let world = World::new("", &script);
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
    let agent = json!({
        "version": 1, "name": "once", "model": "demo/any",
        "servers": {"counter": {"command": "python3", "args": ["-S", server], "env": {"LOG": world.path("effects.log")}}},
        "policy": {"counter.put": {"approve": approve}},
    });
    world.write("agent.yaml", &agent.to_string());
    world
}

/// How often the tool was called.
fn effects(world: &World) -> usize {
    let log = fs::read_to_string(world.path("effects.log")).unwrap_or_default();
    log.lines().filter(|line| line.starts_with("put ")).count()
}

/// All runs, newest first.
fn runs(world: &World) -> Vec<String> {
    let listed = world.agentd(&["runs", "--json"]).json();
    listed["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

fn start(world: &World, args: &[&str]) -> Child {
    world.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn of_several_at_once_one_starts_and_all_end_as_it_does() {
    let world = world("300ms", "allow");
    let all: Vec<Said> = [(); 3].map(|()| start(&world, &KEYED)).into_iter().map(end).collect();
    let later = world.agentd(&KEYED);
    for said in all.iter().chain([&later]) {
        assert_eq!((said.code, &*said.stdout), (0, "Put.\n"), "{said:#?}");
    }
    assert_eq!((runs(&world).len(), effects(&world)), (1, 1));
    let attached: Vec<&Said> =
        all.iter().filter(|said| said.stderr.contains("(started with this key before")).collect();
    assert_eq!(attached.len(), 2, "{all:#?}");
    assert!(
        later.stderr.starts_with(&format!("run {} (started with this key before)\n", runs(&world)[0])),
        "{later:#?}"
    );

    // What was asked for holds for who attaches, too.
    let mut stream = KEYED.to_vec();
    stream.push("--stream-json");
    assert_eq!(&world.agentd(&stream).lines(), world.show()["entries"].as_array().unwrap());
    let file = [&KEYED[..], &["-o", "answer.txt", "--json"]].concat();
    assert_eq!(world.agentd(&file).json()["run"], runs(&world)[0]);
    assert_eq!(fs::read_to_string(world.path("answer.txt")).unwrap(), "Put.\n");

    assert_eq!(world.agentd(&["run", "agent.yaml", "go", "--key", "weekly"]).code, 0);
    assert_eq!((runs(&world).len(), effects(&world)), (2, 2));
}

#[test]
fn a_key_is_for_one_agent_and_one_prompt() {
    let world = world("1ms", "allow");
    assert_eq!(world.agentd(&KEYED).code, 0);
    let agent = fs::read_to_string(world.path("agent.yaml")).unwrap();
    world.write("other.yaml", &agent.replace("once", "twice"));
    for (agent, prompt, why) in [
        ("agent.yaml", "go on", "this key has started a run with another prompt already"),
        ("other.yaml", "go", "this key has started a run of another agent (once) already"),
    ] {
        let said = world.agentd(&["run", agent, prompt, "--key", "nightly"]);
        assert_eq!((said.code, &*said.stdout), (2, ""), "{said:#?}");
        assert!(said.stderr.contains(why) && said.stderr.contains(&runs(&world)[0]), "{said:#?}");
    }
    // The same agent, mended since.
    world.write("agent.yaml", &format!("{agent}\n# mended\n"));
    let said = world.agentd(&KEYED);
    assert_eq!((said.code, &*said.stdout), (0, "Put.\n"), "{said:#?}");
    assert!(said.stderr.contains("its agent file was changed since"), "{said:#?}");
    assert_eq!((runs(&world).len(), effects(&world)), (1, 1));
    assert_eq!(world.agentd(&["run", "agent.yaml", "go", "--key", ""]).code, 2);
}

#[test]
fn a_parked_run_is_started_once_too() {
    let world = world("1ms", "ask");
    for nth in 0..2 {
        let said = world.agentd(&KEYED);
        assert_eq!((said.code, &*said.stdout), (3, ""), "{nth}: {said:#?}");
        let id = &runs(&world)[0];
        assert!(said.stderr.contains(&format!("agentd approve {id} t1c1")), "{nth}: {said:#?}");
        assert!(said.stderr.contains(&format!("resume with: agentd resume {id}")), "{nth}: {said:#?}");
    }
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last"]).code, 0);
    assert_eq!(world.agentd(&KEYED).stdout, "Put.\n");
    assert_eq!((runs(&world).len(), effects(&world)), (1, 1));
}

#[test]
fn who_follows_a_run_that_is_killed_is_told_how_to_resume_it() {
    let world = world("120s", "allow");
    let mut first = Running::start({
        let mut command = world.command(&KEYED);
        command.arg("--stream-json");
        command
    });
    first.until("model_asked");
    let follow = || {
        let mut following = Running::start({
            let mut command = world.command(&KEYED);
            command.arg("--stream-json");
            command
        });
        following.until("model_asked");
        following
    };
    let (left, following) = (follow(), follow());
    left.signal(Signal::INT);
    assert_eq!(left.end().0, 130, "it leaves at once, and the run goes on");
    assert_eq!(world.show()["status"], "running");
    first.signal(Signal::KILL);
    drop(first.child.wait_with_output());
    let id = &runs(&world)[0];
    let (code, stderr) = following.end();
    assert!(code == 130 && stderr.contains(&format!("resume with: agentd resume {id}")), "{code}: {stderr}");
    let later = world.agentd(&KEYED);
    assert!(later.code == 130 && later.stderr.contains(&format!("resume with: agentd resume {id}")), "{later:#?}");

    let script = fs::read_to_string(world.path("script.yaml")).unwrap();
    world.write("script.yaml", &script.replace("120s", "1ms"));
    assert_eq!(world.agentd(&["resume", id]).stdout, "Put.\n");
    assert_eq!(world.agentd(&KEYED).stdout, "Put.\n");
    assert_eq!((runs(&world).len(), effects(&world)), (1, 1));
}

#[test]
fn killed_at_every_point_of_the_start_it_is_started_once() {
    let points = |world: &World| fs::read_to_string(world.path("points.log")).unwrap_or_default();
    let calm = world("1ms", "allow");
    let log = calm.path("points.log");
    assert!(calm.command(&KEYED).env("AGENTD_CRASH_LOG", log).output().unwrap().status.success());
    let passed = points(&calm);
    let names: Vec<&str> = passed.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(names[..2], ["key.name", "key.named"]);
    let started = names.iter().position(|name| *name == "model.send").unwrap();
    for point in 1..=started + 1 {
        let world = world("1ms", "allow");
        let killed = world.command(&KEYED).env("AGENTD_CRASH_AT", point.to_string()).output().unwrap();
        assert_eq!(killed.status.code(), None, "point {point} was not passed");
        let again = world.agentd(&KEYED);
        let resumed = match again.code {
            0 => again,
            130 => world.agentd(&["resume", "@last"]),
            other => panic!("{}: {other}: {again:#?}", names[point - 1]),
        };
        assert_eq!((resumed.code, &*resumed.stdout), (0, "Put.\n"), "{}: {resumed:#?}", names[point - 1]);
        assert_eq!(world.agentd(&KEYED).code, 0);
        assert_eq!((runs(&world).len(), effects(&world)), (1, 1), "{}", names[point - 1]);
    }
}

#[test]
fn a_conversation_with_a_key_goes_on_where_it_ended() {
    let dir = terminal::world("answers: [{text: First.}, {text: Second.}]");
    let talk = || {
        let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml", "--key", "diary"]));
        terminal.until("> ");
        terminal
    };
    for (words, answer) in [("one", "First."), ("two", "Second.")] {
        let mut terminal = talk();
        terminal.types(words);
        terminal.until(answer);
        terminal.until("> ");
        terminal.presses("\u{4}");
        assert_eq!(terminal.end().0, 0);
    }
    let listed = agentd(&dir, &["runs", "--json"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(listed).unwrap().matches("\"run\"").count(), 1);
}

#[test]
fn a_run_whose_key_has_started_another_is_not_driven() {
    let world = world("1ms", "ask");
    let start = |key: &str| {
        assert_eq!(world.agentd(&["run", "agent.yaml", "go", "--key", key]).code, 3);
        let id = runs(&world)[0].clone();
        assert_eq!(world.agentd(&["approve", &id]).code, 0);
        id
    };
    let (lost, won) = (start("nightly"), start("weekly"));
    let files: Vec<_> = fs::read_dir(world.path("home/keys")).unwrap().map(|file| file.unwrap().path()).collect();
    let names = |id: &str| files.iter().find(|file| fs::read_to_string(file).unwrap() == id).unwrap();
    let file = names(&lost);
    fs::write(file, &won).unwrap();
    let refused = world.agentd(&["resume", &lost]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.stderr.contains(&format!("its key has started run {won} instead")), "{refused:#?}");
    assert_eq!(effects(&world), 0);
    // A key that is forgotten is taken again.
    fs::remove_file(file).unwrap();
    assert_eq!(world.agentd(&["resume", &lost]).code, 0);
    assert_eq!(fs::read_to_string(file).unwrap(), lost);
}
