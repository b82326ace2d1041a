//! Routes from outside: a run goes on at another provider, follows changed settings, and outlives its own length.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use agentd::provider::catalogue::built_in;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Model, Reply, nobody};

/// A working directory with an agent that may write notes, and a home of its own.
pub struct World {
    dir: TempDir,
}

impl World {
    pub fn new(settings: &str) -> Self {
        let world = World { dir: TempDir::new().unwrap() };
        fs::create_dir(world.path("notes")).unwrap();
        world.agent("model: smart");
        world.settings(settings);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn agent(&self, model: &str) {
        let agent = format!(
            "version: 1\nname: notes\n{model}\nservers: {{files: {{builtin: files, root: ./notes}}}}\n\
             policy: {{files.write: {{approve: allow}}}}\n"
        );
        fs::write(self.path("agent.yaml"), agent).unwrap();
    }

    pub fn settings(&self, settings: &str) {
        fs::write(self.path("agentd.yaml"), format!("version: 1\n{settings}")).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command.args(args).current_dir(self.dir.path()).env("AGENTD_HOME", self.path("home")).stdin(Stdio::null());
        for key in built_in().unwrap().providers().flat_map(|provider| &provider.keys) {
            command.env_remove(key);
        }
        command.env_remove("AGENTD_CONFIG");
        command
    }

    /// Runs a command that must end well, and gives its document.
    pub fn agentd(&self, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn run(&self) -> Value {
        self.agentd(&["run", "agent.yaml", "go"])
    }

    /// The entries of one type of the newest run.
    pub fn entries(&self, of: &str) -> Vec<Value> {
        let document = self.agentd(&["runs", "show", "@last"]);
        let entries = document["entries"].as_array().unwrap();
        entries.iter().filter(|entry| entry["type"] == of).cloned().collect()
    }

    /// Who was asked, in turn.
    pub fn asked(&self) -> Vec<String> {
        self.entries("model_asked").iter().map(|entry| entry["data"]["endpoint"].as_str().unwrap().to_owned()).collect()
    }
}

/// Two providers of the chat format and a route over both.
pub fn two(a: &str, b: &str, more: &str) -> String {
    format!(
        "providers:\n  a: {{dialect: openai-chat, base_url: \"{a}\"}}\n  b: {{dialect: openai-chat, base_url: \"{b}\"}}\n\
         routes: {{smart: {{targets: [a/m, b/m]}}}}\n{more}"
    )
}

fn write() -> Reply {
    Reply::call("files__write", json!({"path": "a.txt", "content": "once"})).usage(1000, 100)
}

#[test]
fn a_run_goes_on_elsewhere_and_nothing_happens_twice() {
    // `a` makes a call, and from then on breaks off in the midst of a second call of the same tool.
    let cut = || Reply::call("files__write", json!({"path": "b.txt", "content": "never"})).cut_after_events(2);
    let a = Model::replying([write(), cut(), cut(), cut()]);
    let b = Model::replying([Reply::text("Written.").usage(2000, 10)]);
    let prices = "prices: {a/m: {input: 2, output: 10}, b/m: {input: 1, output: 5}}\n";
    let world = World::new(&two(&a.base_url(), &b.base_url(), prices));
    let document = world.run();
    assert_eq!(document["output"], "Written.");
    assert_eq!(world.asked(), ["a/m", "a/m", "a/m", "b/m"]);
    assert_eq!((a.count(), b.count()), (3, 1));
    assert_eq!(fs::read_to_string(world.path("notes/a.txt")).unwrap(), "once");
    assert!(!world.path("notes/b.txt").exists(), "a call that was cut is never executed");
    assert_eq!(world.entries("tool_started").len(), 1);
    // 1000 × $2 + 100 × $10 at `a`, 2000 × $1 + 10 × $5 at `b`, each for a million; and what was read twice in vain.
    let nano =
        |of: &str| world.entries(of).iter().map(|it| it["data"]["cost_nano"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(nano("model_answered"), [3_000_000, 2_050_000]);
    let failed = nano("attempt_failed");
    assert!(failed.len() == 2 && failed.iter().all(|cost| *cost > 0), "{failed:?}");
    let sum = 5_050_000 + failed.iter().sum::<u64>();
    assert_eq!(document["cost_usd"].as_f64().map(|cost| (cost * 1e9).round() as u64), Some(sum));
    assert_eq!(document["estimated"], true);
    let used = &world.entries("attempt_failed")[0]["data"];
    assert_eq!(used["estimated"], true);
    assert!(used["usage"]["input"].as_u64().unwrap() > 100 && used["usage"]["output"].as_u64().unwrap() > 0, "{used}");
    a.assert_valid();
    b.assert_valid();
}

#[test]
fn a_run_that_is_stopped_between_two_attempts_goes_on() {
    let world = World::new("providers: {a: {dialect: openai-chat, base_url: \"http://127.0.0.1:1/v1\"}}\n");
    world.agent("model: a/m");
    let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut entries = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(entries.any(|entry| entry.contains("\"type\":\"attempt_failed\"")));
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let b = Model::replying([Reply::text("Hi.")]);
    let url = b.base_url();
    world.settings(&format!("providers: {{a: {{dialect: openai-chat, base_url: \"{url}\"}}}}\n"));
    assert_eq!(world.agentd(&["resume", "@last"])["output"], "Hi.");
}

#[test]
fn a_dead_provider_is_remembered_by_the_next_process() {
    let b = Model::answering(|_| Reply::text("Hi."));
    let world = World::new(&two(&nobody(), &b.base_url(), ""));
    world.run();
    assert_eq!(world.asked(), ["a/m", "a/m", "b/m"]);
    world.run();
    assert_eq!(world.asked(), ["b/m"]);
}

#[test]
fn a_changed_route_is_followed_by_the_run_in_flight() {
    let b = Model::replying([Reply::text("Done by b.")]);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("agentd.yaml");
    let second = b.base_url();
    let edited = file.clone();
    // While `a` answers, somebody points the route at `b` alone.
    let a = Model::answering(move |request| {
        let before = fs::read_to_string(&edited).unwrap();
        fs::write(&edited, before.replace("targets: [a/m]", "targets: [b/m, b/m]")).unwrap();
        if request.answers() == 0 { write() } else { Reply::text("Done by a.") }
    });
    let first = a.base_url();
    fs::write(
        &file,
        format!(
            "version: 1\nproviders:\n  a: {{dialect: openai-chat, base_url: \"{first}\"}}\n  \
             b: {{dialect: openai-chat, base_url: \"{second}\"}}\nroutes: {{smart: {{targets: [a/m]}}}}\n"
        ),
    )
    .unwrap();
    let world = World::new("");
    let document = world.agentd(&["run", "agent.yaml", "go", "--config", &file.display().to_string()]);
    assert_eq!(document["output"], "Done by b.");
}

#[test]
fn who_says_nothing_in_the_time_of_the_route_is_left_for_another() {
    let a = Model::answering(|_| Reply::silence());
    let b = Model::replying([Reply::text("Hi.")]);
    let world = World::new("");
    let settings = two(&a.base_url(), &b.base_url(), "");
    world.settings(&settings.replace("targets: [a/m, b/m]", "targets: [a/m, b/m], timeouts: {first_token: 100ms}"));
    assert_eq!(world.run()["output"], "Hi.");
    assert_eq!(world.asked(), ["a/m", "b/m"]);
    assert!(world.entries("attempt_failed")[0].to_string().contains("within 100ms (first-token timeout)"));
}

#[test]
fn who_allows_no_more_is_passed_over_before_it_refuses() {
    let used_up =
        |reply: Reply| reply.header("x-ratelimit-remaining-requests", "0").header("x-ratelimit-reset-requests", "10m");
    let a = Model::replying([used_up(write())]);
    let b = Model::answering(|_| Reply::text("Written."));
    let world = World::new(&two(&a.base_url(), &b.base_url(), ""));
    assert_eq!(world.run()["output"], "Written.");
    assert_eq!(world.asked(), ["a/m", "b/m"]);
    // The next process knows it too.
    let told = world.command(&["run", "agent.yaml", "go", "--explain-route"]).output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("2. a/m: last: it said that the requests or tokens it allows are used up\n"), "{told}");
}

#[test]
fn a_conversation_is_kept_within_what_a_server_on_this_machine_reads() {
    // No catalogue knows this model: only its server says how much it reads.
    let model = Model::answering(|request| match request.answers() {
        0..6 => Reply::call("files__read", json!({"path": "long.txt"})),
        _ => Reply::text("Read."),
    });
    model.lists([json!({"id": "m", "max_model_len": 4000})]);
    let world = World::new(&two(&model.base_url(), &model.base_url(), ""));
    world.agent("model: a/m");
    fs::write(world.path("notes/long.txt"), "x".repeat(5000)).unwrap();
    assert_eq!(world.run()["output"], "Read.");
    assert!(!world.entries("compacted").is_empty());
}

#[test]
fn a_route_is_explained() {
    let b = Model::answering(|_| Reply::text("Hi."));
    let world = World::new(&two(&nobody(), &b.base_url(), ""));
    world.run();
    let told = world.command(&["run", "agent.yaml", "go", "--explain-route"]).output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("1. b/m: in its place by the policy\n2. a/m: moved back: it failed a moment ago\n"),
        "{told}"
    );
}

#[test]
fn steps_ask_the_models_that_they_name() {
    let a = Model::replying([write()]);
    let b = Model::replying([Reply::text("Done.")]);
    let world = World::new(&two(&a.base_url(), &b.base_url(), ""));
    world.agent("model: {name: smart, steps: {first: a/m, tools: b/m}}");
    assert_eq!(world.run()["output"], "Done.");
    assert_eq!(world.asked(), ["a/m", "b/m"]);
}

#[test]
fn a_conversation_that_is_too_long_loses_its_oldest_results_and_ends_well() {
    let long = "x".repeat(5000);
    let model = Model::answering(move |request| {
        let shown: usize = request.messages().iter().map(|message| message["content"].to_string().len()).sum();
        if shown > 13_000 {
            let message =
                "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000.";
            return Reply::error(400, message, "context_length_exceeded");
        }
        match request.answers() {
            0..6 => Reply::call("files__read", json!({"path": "long.txt"})),
            _ => Reply::text("Read."),
        }
    });
    let world = World::new(&two(&model.base_url(), &model.base_url(), ""));
    world.agent("model: a/m");
    fs::write(world.path("notes/long.txt"), &long).unwrap();
    let document = world.run();
    assert_eq!((&document["output"], &document["tool_calls"]), (&json!("Read."), &json!(6)));
    assert!(!world.entries("compacted").is_empty());
    // The whole is still in the journal.
    let kept = world.entries("tool_finished");
    assert_eq!(kept.iter().filter(|entry| entry.to_string().contains(&long)).count(), 6);
    model.assert_valid();
}
