//! A run that is killed anywhere goes on to the same end: nothing acknowledged is lost, no write happens twice.
//!
//! The program is the real one, built with the feature `chaos`: `AGENTD_CRASH_AT=n` has it kill itself at its n-th
//! point, around every append and every effect. The model server lives in the test and the tool server logs its effects
//! to a file, so both outlive the kill.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Model, Reply};

/// A home, an agent and its model: everything that outlives a killed process.
struct World {
    dir: TempDir,
    model: Model,
}

/// Kill the `command`-th process of a run (from zero) at its `point`-th point (from one).
#[derive(Debug, Clone, Copy)]
struct Kill {
    command: usize,
    point: usize,
}

/// What a run came to.
struct Story {
    report: Value,
    entries: Vec<Value>,
    /// Points that each process passed.
    points: Vec<usize>,
}

impl World {
    fn new(slow_ms: u32) -> Self {
        let model = Model::by_turn([
            Reply::calls([("counter__look", json!({"text": "a"})), ("counter__look", json!({"text": "b"}))]),
            Reply::call("counter__put", json!({"text": "one"})),
            Reply::call("counter__set", json!({"text": "k"})),
            Reply::call("counter__wipe", json!({"text": "x"})),
            Reply::calls([("counter__put", json!({"text": "two"})), ("counter__look", json!({"text": "c"}))]),
            Reply::call("final_answer", json!({"ok": true})),
        ]);
        let world = World { dir: TempDir::new().unwrap(), model };
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
        let agent = json!({
            "version": 1,
            "name": "crash",
            "model": "double/any",
            "output": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
            "servers": {"counter": {
                "command": "python3",
                "args": ["-S", server],
                "env": {"LOG": world.log(), "SLOW_MS": slow_ms.to_string()},
            }},
            "policy": {"counter.put": {"approve": "allow"}, "counter.set": {"approve": "allow"}},
        });
        let settings = json!({
            "version": 1,
            "providers": {"double": {"dialect": "openai-chat", "base_url": world.model.base_url()}},
        });
        // JSON is YAML.
        fs::write(world.path("agent.yaml"), agent.to_string()).unwrap();
        fs::write(world.path("agentd.yaml"), settings.to_string()).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        self.path("effects.log").display().to_string()
    }

    fn agentd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("AGENTD_HOME", self.path("home"))
            .env("AGENTD_CRASH_LOG", self.path("points.log"))
            .stdin(Stdio::null());
        command
    }

    /// Runs one process to its end, killed at a point or not. Returns its output and the points it passed.
    fn process(&self, args: &[&str], point: Option<usize>) -> (Output, usize) {
        let _ = fs::remove_file(self.path("points.log"));
        let mut command = self.agentd(args);
        if let Some(point) = point {
            command.env("AGENTD_CRASH_AT", point.to_string());
        }
        let output = command.output().unwrap();
        let points = fs::read_to_string(self.path("points.log")).unwrap_or_default();
        (output, points.lines().count())
    }

    /// Drives the run to its end, answering for the person, and killing one process on the way.
    fn story(&self, kill: Option<Kill>) -> Story {
        let mut points = Vec::new();
        let mut acknowledged: Vec<Value> = Vec::new();
        let mut next = vec!["run".to_owned(), "agent.yaml".to_owned(), "go".to_owned(), "--stream-json".to_owned()];
        for command in 0..30 {
            let point = kill.filter(|kill| kill.command == command).map(|kill| kill.point);
            let args: Vec<&str> = next.iter().map(String::as_str).collect();
            let (output, passed) = self.process(&args, point);
            points.push(passed);
            if next.iter().any(|arg| arg == "--stream-json") {
                acknowledged.extend(lines(&output.stdout));
            }
            match self.last() {
                // Killed before anything was acknowledged: the run never was.
                None => {
                    assert!(acknowledged.is_empty(), "acknowledged entries are gone: {acknowledged:?}");
                    continue;
                }
                Some(report) => {
                    let entries = report["entries"].as_array().unwrap().clone();
                    for entry in &acknowledged {
                        let seq = usize::try_from(entry["seq"].as_u64().unwrap()).unwrap();
                        assert_eq!(entries.get(seq), Some(entry), "an acknowledged entry is lost or differs");
                    }
                    if report["status"] == "done" {
                        return Story { report, entries, points };
                    }
                    next = self.what_next(&report, &output);
                }
            }
        }
        panic!("the run does not come to its end: {:?}", self.last());
    }

    /// What a person would type now.
    fn what_next(&self, report: &Value, output: &Output) -> Vec<String> {
        let run = report["run"].as_str().unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let waiting = &report["waiting"][0];
        let call = waiting["call"].as_str().unwrap_or_default();
        match (report["status"].as_str().unwrap(), waiting["kind"].as_str()) {
            ("waiting", Some("approval")) => words(&["approve", run]),
            ("waiting", Some("doubt")) => {
                let happened = self.effects().keys().any(|effect| effect.starts_with("wipe"));
                words(&["resolve", run, call, if happened { "--happened" } else { "--did-not" }])
            }
            ("interrupted" | "waiting", _) => words(&["resume", run, "--stream-json"]),
            (status, kind) => panic!("{status} {kind:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn last(&self) -> Option<Value> {
        let output = self.agentd(&["runs", "show", "@last", "--json"]).output().unwrap();
        match output.status.code() {
            Some(0) => Some(serde_json::from_slice(&output.stdout).unwrap()),
            Some(8) => None,
            code => panic!("runs show: {code:?} {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// How often each effect happened.
    fn effects(&self) -> BTreeMap<String, usize> {
        let mut effects = BTreeMap::new();
        for line in fs::read_to_string(self.log()).unwrap_or_default().lines() {
            if !line.starts_with("start ") {
                let effect = line.rsplit_once(' ').unwrap().0.to_owned();
                *effects.entry(effect).or_default() += 1;
            }
        }
        effects
    }

    /// The tool servers that were ever started, until all of them are gone.
    fn wait_for_servers_to_go(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(20);
        for pid in log.lines().filter_map(|line| line.strip_prefix("start ")) {
            while PathBuf::from(format!("/proc/{pid}")).exists() {
                assert!(Instant::now() < deadline, "tool server {pid} outlives agentd");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// What must hold however often the run was killed.
    fn check(&self, story: &Story) {
        assert_eq!(story.report["output"], json!({"ok": true}));
        for (index, entry) in story.entries.iter().enumerate() {
            assert_eq!(entry["seq"], index, "entries are not dense");
        }
        let effects = self.effects();
        for read in
            ["look {\"text\": \"a\"}", "look {\"text\": \"b\"}", "look {\"text\": \"c\"}", "set {\"text\": \"k\"}"]
        {
            assert!(effects.get(read).is_some_and(|times| *times >= 1), "{read} never happened: {effects:?}");
        }
        for (write, call) in [
            ("put {\"text\": \"one\"}", "t2c1"),
            ("wipe {\"text\": \"x\"}", "t4c1"),
            ("put {\"text\": \"two\"}", "t5c1"),
        ] {
            let times = effects.get(write).copied().unwrap_or_default();
            let in_doubt =
                story.entries.iter().any(|entry| entry["type"] == "call_lost" && entry["data"]["call"] == call);
            assert!(times == 1 || (times == 0 && in_doubt), "{write} happened {times} times, in doubt: {in_doubt}");
        }
        self.model.assert_valid();
        self.wait_for_servers_to_go();
    }
}

/// The whole lines of a killed process's output.
fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn killed_at_every_point_ends_as_undisturbed() {
    let calm = World::new(0);
    let story = calm.story(None);
    calm.check(&story);
    assert!(calm.effects().values().all(|times| *times == 1), "{:?}", calm.effects());
    let kills: Vec<Kill> = story
        .points
        .iter()
        .enumerate()
        .flat_map(|(command, points)| (1..=*points).map(move |point| Kill { command, point }))
        .collect();
    assert!(kills.len() > 50, "only {} points were passed: is the feature chaos on?", kills.len());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(kill) = kills.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = std::panic::catch_unwind(|| {
                        let world = World::new(0);
                        let story = world.story(Some(*kill));
                        world.check(&story);
                    });
                    if ended.is_err() {
                        failed.lock().unwrap().push(*kill);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} kills end badly: {failed:?}", failed.len(), kills.len());
}

#[test]
fn an_interrupted_call_of_the_bundled_server_goes_on_at_once() {
    let model = Model::by_turn([
        Reply::call("files__write", json!({"path": "a.txt", "content": "hello"})),
        Reply::text("written"),
    ]);
    let world = World { dir: TempDir::new().unwrap(), model };
    fs::create_dir(world.path("files")).unwrap();
    let agent = json!({
        "version": 1,
        "name": "bundled",
        "model": "double/any",
        "servers": {"files": {"builtin": "files", "root": "./files"}},
        "policy": {"files.write": {"approve": "allow"}},
    });
    let settings = json!({
        "version": 1,
        "providers": {"double": {"dialect": "openai-chat", "base_url": world.model.base_url()}},
    });
    fs::write(world.path("agent.yaml"), agent.to_string()).unwrap();
    fs::write(world.path("agentd.yaml"), settings.to_string()).unwrap();
    world.process(&["run", "agent.yaml", "go"], None);
    let points = fs::read_to_string(world.path("points.log")).unwrap();
    let answered = points.lines().position(|point| point.contains("tool.answered")).unwrap() + 1;
    let (killed, _) = world.process(&["run", "agent.yaml", "go"], Some(answered));
    assert_eq!(killed.status.code(), None, "it was to be killed");
    // The call's deadline is ten minutes away; the lock of its guard went with the process.
    let (resumed, _) = world.process(&["resume", "@last", "--timeout", "60s"], None);
    assert_eq!(resumed.status.code(), Some(0), "{}", String::from_utf8_lossy(&resumed.stderr));
    let report = world.last().unwrap();
    let lost = report["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "call_lost").count();
    assert_eq!((lost, report["output"].as_str()), (1, Some("written")));
    world.model.assert_valid();
}

#[test]
fn killed_from_outside_at_any_moment() {
    for nth in 0..8u64 {
        let world = World::new(40);
        let mut child = world
            .agentd(&["run", "agent.yaml", "go", "--stream-json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for something to be ready: the moment of the kill is what varies.
        let pause = Duration::from_millis(30 + nth * 97);
        let started = Instant::now();
        let mut acknowledged = Vec::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(pause.saturating_sub(started.elapsed()));
                child.kill().unwrap();
                child.wait().unwrap();
            });
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
                if line.ends_with('\n') {
                    acknowledged.push(serde_json::from_str::<Value>(&line).unwrap());
                }
                line.clear();
            }
        });
        if let Some(report) = world.last() {
            let entries = report["entries"].as_array().unwrap();
            assert_eq!(&entries[..acknowledged.len()], &acknowledged[..]);
            let id = report["run"].as_str().unwrap().to_owned();
            world.process(&["resume", &id], None);
            let story = world.finish();
            world.check(&story);
        } else {
            assert!(acknowledged.is_empty());
        }
    }
}

impl World {
    /// Drives a run that exists to its end.
    fn finish(&self) -> Story {
        for _ in 0..30 {
            let report = self.last().unwrap();
            if report["status"] == "done" {
                let entries = report["entries"].as_array().unwrap().clone();
                return Story { report, entries, points: Vec::new() };
            }
            let none = Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() };
            let next = self.what_next(&report, &none);
            self.process(&next.iter().map(String::as_str).collect::<Vec<_>>(), None);
        }
        panic!("the run does not come to its end: {:?}", self.last());
    }
}
