//! Money from outside: processes share a day's budget, and what was in flight at a kill is presumed spent.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use agentd::provider::catalogue::built_in;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Gate, Model, Reply};

/// What is set aside for an answer of the length that nobody bounds: 4096 tokens at a tenth of a cent.
const ASIDE_NANO: u64 = 4_096_000_000;

/// One home, whose spend all share; and a store for each process, since a store has one process at a time.
struct World {
    dir: TempDir,
    model: Model,
}

impl World {
    /// Answers cost what they write: a dollar for a thousand tokens.
    fn new(model: Model) -> Self {
        let world = World { dir: TempDir::new().unwrap(), model };
        fs::write(world.path("agent.yaml"), "version: 1\nname: saver\nmodel: m/m\n").unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Settings with a store of this name, and these budgets.
    fn settings(&self, store: &str, budgets: &str) {
        let url = self.model.base_url();
        let settings = format!(
            "version: 1\nproviders: {{m: {{dialect: openai-chat, base_url: \"{url}\"}}}}\n\
             prices: {{m/m: {{input: 0, output: 1000}}}}\nstore: sled:{store}\nbudgets: {budgets}\n"
        );
        fs::write(self.path(&format!("{store}.yaml")), settings).unwrap();
    }

    fn command(&self, store: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command.args(args).arg("--config").arg(self.path(&format!("{store}.yaml"))).current_dir(self.dir.path());
        command.env("AGENTD_HOME", self.path("home")).stdin(Stdio::null());
        for key in built_in().unwrap().providers().flat_map(|provider| &provider.keys) {
            command.env_remove(key);
        }
        command
    }

    /// Exit code, document and stderr of a command.
    fn agentd(&self, store: &str, args: &[&str]) -> (Option<i32>, Value, String) {
        let output = self.command(store, args).arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}: {told}"));
        (output.status.code(), document, told)
    }
}

#[test]
fn two_processes_share_a_days_budget_and_a_raised_one_lets_the_second_go_on() {
    let gate = Gate::new();
    let dollar = || Reply::text("Saved.").usage(0, 1000);
    let world = World::new(Model::replying([dollar().hold(&gate), dollar()]));
    world.settings("first", "{day: $5}");
    world.settings("second", "{day: $5}");
    let run = ["run", "agent.yaml", "go"];
    let first =
        world.command("first", &run).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    world.model.wait_for(1);

    // What the first has set aside leaves too little.
    let (code, document, told) = world.agentd("second", &run);
    assert_eq!((code, &document["status"]), (Some(6), &json!("exhausted")), "{told}");
    assert_eq!(document["error"]["code"], "exhausted_budget");
    let message = document["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "budgets.day is $5.0000 a day: $0.0000 is spent today (UTC) and $4.0960 is set aside for requests in flight or cut \
         off, and this request may cost $4.0960; raise the budget in agentd.yaml, or go on tomorrow"
    );
    let id = document["run"].as_str().unwrap().to_owned();
    assert!(told.contains(message) && told.contains(&format!("resume with: agentd resume {id}\n")), "{told}");
    assert_eq!((&document["attempts"], &document["cost_usd"]), (&json!(0), &json!(0.0)), "nothing was sent");

    gate.open();
    let output = first.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["cost_usd"]), (Some(0), &json!(1.0)));

    // What it did cost is settled, and the rest is still too little.
    let (code, document, _) = world.agentd("second", &["resume", &id]);
    assert_eq!(code, Some(6));
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("budgets.day is $5.0000 a day: $1.0000 is spent today (UTC), and"), "{message}");
    assert_eq!(world.agentd("second", &["resume", "--all"]).1["runs"], json!([]), "not before another day");

    world.settings("second", "{day: $6}");
    let (code, document, told) = world.agentd("second", &["resume", &id]);
    assert_eq!((code, &document["output"]), (Some(0), &json!("Saved.")), "{told}");
    assert_eq!(world.model.count(), 2);
}

#[test]
fn what_was_in_flight_at_a_kill_is_presumed_spent() {
    let gate = Gate::new();
    let world = World::new(Model::replying([
        Reply::text("Never heard.").hold(&gate),
        Reply::text("Saved.").usage(0, 1000),
        Reply::text("Too dear."),
    ]));
    world.settings("only", "{agents: {saver: $10}}");
    let run = ["run", "agent.yaml", "go", "--stream-json"];
    let mut killed = world.command("only", &run).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let entries = BufReader::new(killed.stdout.take().unwrap()).lines();
    let asked = entries.map_while(Result::ok).find(|entry| entry.contains("\"type\":\"model_asked\""));
    assert!(asked.is_some_and(|entry| entry.contains("\"presumed_nano\":4096000000")));
    killed.kill().unwrap();
    killed.wait().unwrap();

    let (code, document, told) = world.agentd("only", &["resume", "@last"]);
    assert_eq!((code, &document["output"]), (Some(0), &json!("Saved.")), "{told}");
    let cost = (document["cost_usd"].as_f64().unwrap() * 1e9).round() as u64;
    assert_eq!((cost, &document["estimated"]), (ASIDE_NANO + 1_000_000_000, &json!(true)));
    assert!(document["usage"]["input_tokens"].as_u64().unwrap() > 0, "what was sent in vain is counted: {document}");
    // The book has both: 4.096 and 1 of 10, and another 4.096 would fit; yet another would not.
    world.settings("only", "{agents: {saver: $9.19}}");
    let (code, document, _) = world.agentd("only", &["run", "agent.yaml", "go"]);
    let message = document["error"]["message"].as_str().unwrap();
    assert_eq!(code, Some(6));
    assert!(
        message.starts_with("budgets.agents.saver is $9.1900 a day: $1.0000 is spent today (UTC) and $4.0960"),
        "{message}"
    );
}
