//! What probes measure must be what the model servers did, and what `stats` tells what runs did.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use agentd::{provider::catalogue::built_in, yaml::Document};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Gate, Model, Reply, Request, nobody, text};

/// A bundled task as its file has it: what is asked, the call that is right, and its place among all.
struct Task {
    ask: String,
    tool: String,
    arguments: Value,
}

/// The bundled tasks; in a probe neighbours are of different files, here they are not.
fn tasks() -> Vec<Task> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon/probe");
    let mut tasks = Vec::new();
    for name in ["files", "orders", "calendar", "operations"] {
        let text = fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap();
        let (document, mut faults) = Document::parse(name, &text).unwrap();
        let file = faults.json(document.root()).unwrap();
        for task in file["tasks"].as_array().unwrap() {
            tasks.push(Task {
                ask: task["ask"].as_str().unwrap().trim_end().to_owned(),
                tool: format!("{name}__{}", task["tool"].as_str().unwrap()),
                arguments: task["arguments"].clone(),
            });
        }
    }
    tasks
}

/// The place of the task that a request asks for, and its right call.
fn asked(tasks: &[Task], request: &Request) -> (usize, Reply) {
    let said = request.messages().iter().find(|message| message["role"] == "user").unwrap();
    // What we say of a call that cannot be shown again may stand behind the task.
    let said = text(said);
    let at = tasks.iter().position(|task| said.starts_with(&task.ask)).expect("an unknown task");
    assert!(request.tools().contains(&tasks[at].tool.as_str()), "{:?}", request.tools());
    (at, Reply::call(&tasks[at].tool, tasks[at].arguments.clone()).usage(1000, 100))
}

/// Always right.
pub fn right() -> Model {
    let tasks = tasks();
    Model::answering(move |request| asked(&tasks, request).1)
}

/// Of each four tasks: a key twice with different values (mended when told), a tool that nobody offers (never mended), a
/// right call with a value changed, and a right call.
fn poor() -> Model {
    let tasks = tasks();
    Model::answering(move |request| {
        let (at, right) = asked(&tasks, request);
        match at % 4 {
            0 if request.answers() == 0 => Reply::raw_call(&tasks[at].tool, r#"{"a": 1, "a": 2}"#).usage(1000, 100),
            1 => Reply::call("run_shell", json!({"command": "ls"})).usage(1000, 100),
            _ => right,
        }
    })
}

/// A working directory and a home of its own.
pub struct World {
    dir: TempDir,
}

impl World {
    pub fn new(settings: &str) -> Self {
        let world = World { dir: TempDir::new().unwrap() };
        fs::write(world.path("agentd.yaml"), format!("version: 1\n{settings}")).unwrap();
        world
    }

    /// Providers of the chat format, each with a model `m`.
    pub fn of(providers: &[(&str, String)], more: &str) -> Self {
        let provider =
            |(name, url): &(&str, String)| format!("  {name}: {{dialect: openai-chat, base_url: \"{url}\"}}\n");
        World::new(&format!("providers:\n{}{more}", providers.iter().map(provider).collect::<String>()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
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

    /// Exit code, stdout and stderr.
    pub fn said(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Runs a command that must end with this code, and gives its document.
    pub fn json(&self, code: i32, args: &[&str]) -> Value {
        let (found, stdout, stderr) = self.said(&[args, &["--json"]].concat());
        assert_eq!(found, code, "{args:?}: {stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// What the router remembers of an endpoint.
    fn remembered(&self, endpoint: &str) -> Value {
        let text = fs::read_to_string(self.path("home/router.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["endpoints"][endpoint].take()
    }
}

const PRICES: &str = "prices: {right/m: {input: 2, output: 10}}\n";

#[test]
fn the_figures_are_what_the_servers_did() {
    let (right, poor) = (right(), poor());
    let never = Model::answering(|_| Reply::text("I have no tools at hand.").usage(1000, 100));
    let providers =
        [("right", right.base_url()), ("poor", poor.base_url()), ("never", never.base_url()), ("down", nobody())];
    let routes = "routes: {all: {targets: [right/m, poor/m, never/m, down/m]}}\n";
    let prices = "prices: {right/m: {input: 2, output: 10}, never/m: {input: 1, output: 5}}\n";
    let world = World::of(&providers, &format!("{prices}{routes}"));
    let document = world.json(0, &["probe", "all", "right/m", "-n", "16", "--compare"]);

    let targets = document["targets"].as_array().unwrap();
    let names: Vec<&str> = targets.iter().map(|target| target["target"].as_str().unwrap()).collect();
    assert_eq!(names, ["right/m", "poor/m", "never/m", "down/m"], "each once");
    let verdicts = |changes: &[(&str, u64)]| {
        let names = [
            "accepted",
            "as_asked",
            "other_than_asked",
            "no_call",
            "invalid_json",
            "unknown_name",
            "schema_mismatch",
            "truncated",
            "left_in_text",
        ];
        let count = |name: &str| changes.iter().find(|(changed, _)| *changed == name).map_or(0, |(_, count)| *count);
        names.iter().map(|name| ((*name).to_owned(), json!(count(name)))).collect::<Value>()
    };
    let picked = |target: &Value| {
        let keys = [
            "requests",
            "answered",
            "used_tools",
            "asked_again",
            "failed_attempts",
            "as_they_came",
            "after_asking_again",
            "stopped",
        ];
        keys.iter().map(|key| ((*key).to_owned(), target[*key].clone())).collect::<Value>()
    };

    let all = verdicts(&[("accepted", 16), ("as_asked", 16)]);
    let expected = json!({
        "requests": 16, "answered": 16, "used_tools": 16, "asked_again": 0, "failed_attempts": {},
        "as_they_came": all, "after_asking_again": all, "stopped": null,
    });
    assert_eq!(picked(&targets[0]), expected);
    assert_eq!(right.count(), 16);
    // 1000 × $2 + 100 × $10, for a million, 16 times.
    assert_eq!((&targets[0]["cost_usd"], &targets[0]["cost_per_accepted_usd"]), (&json!(0.048), &json!(0.003)));
    assert_eq!(
        (&targets[0]["usage"]["input_tokens"], &targets[0]["usage"]["output_tokens"]),
        (&json!(16_000), &json!(1_600))
    );
    assert!(
        targets[0]["latency_ms"]["p50"].as_f64().unwrap() > 0.0
            && targets[0]["tokens_per_second"].as_f64().unwrap() > 0.0
    );

    let expected = json!({
        "requests": 16, "answered": 16, "used_tools": 16, "asked_again": 8, "failed_attempts": {},
        "as_they_came": verdicts(&[("accepted", 8), ("as_asked", 8), ("invalid_json", 4), ("unknown_name", 4)]),
        "after_asking_again": verdicts(&[("accepted", 12), ("as_asked", 12), ("unknown_name", 4)]),
        "stopped": null,
    });
    assert_eq!(picked(&targets[1]), expected);
    assert_eq!(poor.count(), 24);
    assert_eq!(
        (&targets[1]["cost_usd"], &targets[1]["cost_per_accepted_usd"]),
        (&json!(null), &json!(null)),
        "no price"
    );

    let none = verdicts(&[("no_call", 16)]);
    let expected = json!({
        "requests": 16, "answered": 16, "used_tools": 0, "asked_again": 0, "failed_attempts": {},
        "as_they_came": none, "after_asking_again": none, "stopped": null,
    });
    assert_eq!(picked(&targets[2]), expected);
    assert_eq!((&targets[2]["cost_usd"], &targets[2]["cost_per_accepted_usd"]), (&json!(0.024), &json!(null)));

    // Nobody there: given up after five in a row, with what was under way then.
    let down = &targets[3];
    let requests = down["requests"].as_u64().unwrap();
    assert!((5..=8).contains(&requests), "{down}");
    assert_eq!((&down["answered"], &down["failed_attempts"]), (&json!(0), &json!({"transient": requests})));
    assert!(down["stopped"].is_string() && down["latency_ms"]["p50"].is_null(), "{down}");

    // One price is unknown, so the share decides; eight of sixteen more or fewer are no chance.
    let best = &document["best"];
    assert_eq!((&best["target"], &best["by"]), (&json!("right/m"), &json!("accepted_share")));
    let against: Vec<_> = best["against"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["target"], &it["difference"], &it["more_than_chance"]))
        .collect();
    assert_eq!(
        against,
        [(&json!("poor/m"), &json!(0.25), &json!(true)), (&json!("never/m"), &json!(1.0), &json!(true))]
    );

    // Each answer taught the router, and the next process knows. Counts decay a little from request to request.
    for (endpoint, good, bad) in [("right/m", 16.0, 0.0), ("poor/m", 12.0, 12.0), ("never/m", 0.0, 16.0)] {
        let known = world.remembered(endpoint);
        let near = |key: &str, expected: f64| (known[key].as_f64().unwrap() - expected).abs() < 0.05;
        assert!(near("good", good) && near("bad", bad), "{endpoint}: {known}");
    }
    assert!(world.remembered("down/m")["failures"].as_u64().unwrap() >= 5);
    let models = world.json(0, &["stats", "models"])["models"].take();
    let poor_now = models.as_array().unwrap().iter().find(|model| model["model"] == "poor/m").unwrap().clone();
    assert!(poor_now["now"]["good"].as_f64().unwrap() > 11.9 && poor_now["answers"] == 0, "{poor_now}");
    assert_eq!(world.json(0, &["runs"]), json!({"runs": []}), "probes are no runs");
    for model in [right, poor, never] {
        model.assert_valid();
    }
}

#[test]
fn the_table_stands_on_stdout_and_the_estimate_before_it() {
    let (right, poor) = (right(), poor());
    let world = World::of(&[("right", right.base_url()), ("poor", poor.base_url())], PRICES);
    let (code, stdout, stderr) =
        world.said(&["probe", "right/m", "poor/m", "-n", "16", "--parallel", "2", "--compare"]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        "right/m poor/m",
        "requests 16 16",
        "used tools 16 (100 %) 16 (100 %)",
        "accepted calls 16 (100 %) 8 → 12 (50 % → 75 %)",
        "invalid_json 0 4 → 0",
        "unknown_name 0 4",
        "asked again 0 8",
        "failed attempts 0 0",
        "tokens read 16,000 24,000",
        "cost $0.0480 ?",
        "cost per accepted call $0.0030 ?",
    ] {
        assert!(lines.contains(&line.split_whitespace().collect()), "{line}\n{stdout}");
    }
    assert!(stdout.contains("best: right/m, by the largest share"), "{stdout}");
    // No terminal, so nothing moves: the estimate alone.
    assert!(stderr.starts_with("estimate: 16 requests each, some ") && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("right/m $0.0") && stderr.contains("poor/m price unknown"), "{stderr}");

    let (_, stdout, _) = world.said(&["probe", "right/m", "poor/m", "-n", "4"]);
    assert!(stdout.contains("\n\n") && !stdout.contains("best:"), "a table each: {stdout}");
}

#[test]
fn what_asks_for_patience_gets_it_and_what_is_refused_is_asked_no_more() {
    let tasks = tasks();
    let mut limited = 2;
    let slow = Model::answering(move |request| match limited {
        0 => asked(&tasks, request).1,
        _ => {
            limited -= 1;
            Reply::error(429, "Rate limit reached", "rate_limit_exceeded").header("retry-after-ms", "20")
        }
    });
    let refused = right();
    refused.require_key("another");
    let world = World::of(&[("slow", slow.base_url()), ("refused", refused.base_url())], "");
    let document = world.json(0, &["probe", "slow/m", "refused/m", "-n", "4", "--parallel", "1"]);
    let [slowly, refused_by] = [0, 1].map(|at| &document["targets"][at]);
    assert_eq!((&slowly["requests"], &slowly["answered"]), (&json!(4), &json!(4)), "{slowly}");
    assert_eq!(slowly["failed_attempts"], json!({"rate_limited": 2}));
    assert_eq!((&refused_by["requests"], &refused_by["failed_attempts"]), (&json!(1), &json!({"credential": 1})));
    assert_eq!(refused.count(), 1);

    // Nobody answers at all: the exit code says so.
    assert_eq!(world.json(4, &["probe", "refused/m", "-n", "4"])["targets"][0]["answered"], 0);
    assert_eq!(world.json(2, &["probe", "nobody/m"])["error"]["code"], "unknown_model");
}

#[test]
fn the_bound_on_the_cost_holds() {
    let (right, poor) = (right(), poor());
    let world = World::of(&[("right", right.base_url()), ("poor", poor.base_url())], PRICES);
    let document = world.json(6, &["probe", "right/m", "-n", "16", "--max-cost", "$0.02", "--parallel", "1"]);
    let target = &document["targets"][0];
    assert_eq!(document["stopped"], "max_cost");
    let (asked, cost) = (target["requests"].as_u64().unwrap(), target["cost_usd"].as_f64().unwrap());
    assert!((1..=6).contains(&asked) && right.count() as u64 == asked, "{target}");
    assert!(cost > 0.0 && cost <= 0.02, "{target}");

    let unknown = world.json(2, &["probe", "right/m", "poor/m", "--max-cost", "1"]);
    assert!(unknown["error"]["message"].as_str().unwrap().starts_with("the price of poor/m is unknown"), "{unknown}");
    assert_eq!(poor.count(), 0);
}

#[test]
fn an_interrupted_probe_prints_what_it_has_measured() {
    let (tasks, gate) = (tasks(), Gate::new());
    let held = gate.clone();
    let model = Model::answering(move |request| {
        let reply = asked(&tasks, request).1;
        if request.n < 3 { reply } else { reply.hold(&held) }
    });
    let world = World::of(&[("a", model.base_url())], "");
    let command = &mut world.command(&["probe", "a/m", "-n", "16", "--parallel", "1", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    model.wait_for(4);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let target = &document["targets"][0];
    assert_eq!(
        (&document["stopped"], &target["requests"], &target["answered"]),
        (&json!("interrupted"), &json!(4), &json!(3))
    );
    assert!(world.remembered("a/m")["good"].as_f64().unwrap() > 2.9, "what was learnt is kept");
}

/// The arguments that an instruction tells place by place: `edits[0].find: "x"`.
fn told(ask: &str) -> Value {
    let mut arguments = json!({});
    for line in ask.lines().skip(1).filter(|line| line.contains(": ")) {
        let (place, value) = line.split_once(": ").unwrap();
        let mut at = &mut arguments;
        for step in place.split(['.', '[']) {
            at = match step.strip_suffix(']') {
                Some(index) => {
                    if at.is_null() {
                        *at = json!([]);
                    }
                    let (list, index) = (at.as_array_mut().unwrap(), index.parse::<usize>().unwrap());
                    if list.len() == index {
                        list.push(Value::Null);
                    }
                    &mut list[index]
                }
                None => &mut at[step],
            };
        }
        *at = serde_json::from_str(value).unwrap();
    }
    arguments
}

#[test]
fn the_tools_of_an_agent_are_asked_for_and_never_called() {
    let model = Model::answering(|request| {
        let ask =
            request.messages().iter().find(|message| message["role"] == "user").unwrap()["content"].as_str().unwrap();
        let tool = ask.strip_prefix("Call the tool ").unwrap().split(' ').next().unwrap();
        Reply::call(tool, told(ask))
    });
    let world = World::of(&[("a", model.base_url())], "");
    fs::create_dir(world.path("notes")).unwrap();
    fs::write(world.path("notes/a.txt"), "as it was").unwrap();
    let agent = "version: 1\nname: notes\nmodel: a/m\nservers: {files: {builtin: files, root: ./notes}}\n";
    fs::write(world.path("agent.yaml"), agent).unwrap();
    let document = world.json(0, &["probe", "a/m", "--agent", "agent.yaml", "-n", "12"]);
    let target = &document["targets"][0];
    assert_eq!(document["tools"], "agent.yaml");
    assert_eq!((&target["requests"], &target["as_they_came"]["as_asked"]), (&json!(12), &json!(12)), "{target}");
    let asked: Vec<String> = model.requests().iter().map(|request| request.tools().join(" ")).collect();
    assert!(
        asked.iter().all(|tools| *tools == asked[0] && tools.contains("files__write")),
        "all are on offer: {asked:?}"
    );
    assert_eq!(fs::read_dir(world.path("notes")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(world.path("notes/a.txt")).unwrap(), "as it was");
    model.assert_valid();

    fs::write(world.path("bare.yaml"), "version: 1\nname: bare\nmodel: a/m\n").unwrap();
    let refused = world.json(2, &["probe", "a/m", "--agent", "bare.yaml"]);
    assert_eq!(refused["error"]["code"], "refused", "{refused}");
}

#[test]
fn stats_tell_what_runs_did() {
    let replies = Arc::new([
        Reply::calls([("files__read", json!({"path": "a.txt"})), ("files__read", json!({"path": ["a", "b"]}))])
            .usage(1000, 100),
        Reply::call("files__read", json!({"path": "none.txt"})).usage(1000, 100),
        Reply::call("run_shell", json!({})).usage(1000, 100),
        Reply::text("Done.").usage(1000, 100),
    ]);
    let a = Model::answering(move |request| replies[request.answers()].clone());
    let world = World::of(
        &[("a", a.base_url()), ("down", nobody())],
        "routes: {smart: {targets: [down/m, a/m]}}\nprices: {a/m: {input: 2, output: 10}}\n",
    );
    fs::create_dir(world.path("notes")).unwrap();
    fs::write(world.path("notes/a.txt"), "hello").unwrap();
    let agent = "version: 1\nname: notes\nmodel: smart\nservers: {files: {builtin: files, root: ./notes}}\n";
    fs::write(world.path("agent.yaml"), agent).unwrap();
    let nothing = world.json(0, &["stats"]);
    assert_eq!((&nothing["runs"], &nothing["models"], &nothing["damaged"]), (&json!(0), &json!([]), &json!([])));
    world.json(0, &["run", "agent.yaml", "go"]);

    let stats = world.json(0, &["stats", "--since", "1d"]);
    assert_eq!(stats["runs"], 1);
    let model = |name: &str| stats["models"].as_array().unwrap().iter().find(|it| it["model"] == name).unwrap();
    let good = model("a/m");
    assert_eq!(good["answers"], 4);
    let rejected = json!({"unknown_name": 1, "schema_mismatch": 1});
    assert_eq!(good["calls"], json!({"all": 4, "valid": 2, "repaired": 0, "repairs": {}, "rejected": rejected}));
    // 4 × (1000 × $2 + 100 × $10), for a million.
    assert_eq!((&good["cost_usd"], &good["usage"]["input_tokens"]), (&json!(0.012), &json!(4000)));
    let failed = model("down/m");
    assert_eq!(
        (&failed["answers"], failed["failed_attempts"]["transient"].as_u64() >= Some(2)),
        (&json!(0), true),
        "{failed}"
    );
    let tools = stats["tools"].as_array().unwrap();
    let read = tools.iter().find(|tool| tool["tool"] == "files.read").unwrap();
    let figures = ["denied", "sent", "answered", "errors", "lost"].map(|key| read[key].as_u64().unwrap());
    assert_eq!(figures, [0, 2, 2, 1, 0], "{read}");
    assert!(tools.iter().any(|tool| tool["tool"].is_null() && tool["calls"]["rejected"] == json!({"unknown_name": 1})));
    let agents = &stats["agents"];
    assert_eq!(
        (&agents[0]["agent"], &agents[0]["runs"], &agents[0]["tool_calls"]),
        (&json!("notes"), &json!({"done": 1}), &json!(2))
    );
    let days = stats["costs"].as_array().unwrap();
    assert_eq!(days.iter().map(|day| day["answers"].as_u64().unwrap()).sum::<u64>(), 4);

    let (code, stdout, stderr) = world.said(&["stats"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("1 run · 4 answers · 4,400 tokens · $0.0120\n\nMODEL"), "{stdout}");
}

#[test]
fn stats_reach_the_runs_that_another_process_drives() {
    let model = Model::answering(|_| Reply::silence());
    let world = World::of(&[("a", model.base_url())], "");
    fs::write(world.path("agent.yaml"), "version: 1\nname: bare\nmodel: a/m\n").unwrap();
    let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    let stats = world.json(0, &["stats"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stats["agents"][0]["runs"], json!({"running": 1}), "{stats}");
}
