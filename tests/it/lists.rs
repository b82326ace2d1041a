//! Lists of tools that change while a run lives: at every new input, when a server says so, and when it is another one after a
//! restart.

use std::fs;

use serde_json::{Value, json};

use crate::{
    cli::{Said, World},
    model::{Model, Reply},
};

/// The definition of a tool that takes a `line`, and what else is given.
fn tool(name: &str, description: &str, read: bool, more: Value) -> Value {
    let mut properties = json!({"line": {"type": "string", "default": "@start"}});
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "name": name, "description": description,
        "inputSchema": {"type": "object", "properties": properties, "required": ["line"], "additionalProperties": false},
        "annotations": {"readOnlyHint": read},
    })
}

fn append() -> Value {
    tool("append", "Appends a line.", false, json!({}))
}

fn renew() -> Value {
    json!({"name": "renew", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}})
}

/// An agent with one server that lists these tools, and a model that follows the script.
fn world(tools: &Value, script: &str) -> World {
    let world = World::new("", script);
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/changing.py");
    let path = |name: &str| world.path(name);
    let env = json!({
        "LOG": path("effects.log"), "TOOLS": path("tools.json"), "NEXT": path("next.json"), "FAILS": path("fails"),
    });
    let agent = json!({
        "version": 1, "name": "changing", "model": "demo/any",
        "servers": {"s": {"command": "python3", "args": ["-S", server], "env": env}},
    });
    world.write("agent.yaml", &agent.to_string());
    world.write("tools.json", &tools.to_string());
    world
}

fn effects(world: &World) -> Vec<String> {
    let log = fs::read_to_string(world.path("effects.log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// The data of all entries of this type, oldest first.
fn entries(world: &World, kind: &str) -> Vec<Value> {
    let shown = world.show();
    let entries = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == kind);
    entries.map(|entry| entry["data"].clone()).collect()
}

fn output(said: &Said) -> String {
    assert_eq!(said.code, 0, "{said:#?}");
    said.stdout.trim().to_owned()
}

/// Two prompts, each answered with a call of `append`.
const APPENDS: &str = "
answers:
  - calls: [{name: s__append, arguments: {line: one}}]
  - text: First.
  - calls: [{name: s__append, arguments: {line: two}}]
  - either:
      - {when: {error: true}, text: It did not work.}
      - {text: Second.}
  - calls: [{name: s__append, arguments: {line: three}}]
  - text: Third.
";

#[test]
fn a_server_whose_defaults_differ_with_every_start_is_used_on() {
    let world = world(&json!([append()]), APPENDS);
    assert_eq!(output(&world.agentd(&["run", "agent.yaml", "go", "--yes"])), "First.");
    assert_eq!(output(&world.agentd(&["resume", "@last", "again", "--yes"])), "Second.");
    world.write("tools.json", &json!([tool("append", "Appends a line (a typo less).", false, json!({}))]).to_string());
    assert_eq!(output(&world.agentd(&["resume", "@last", "and again", "--yes"])), "Third.");
    assert_eq!(
        effects(&world),
        [r#"append {"line": "one"}"#, r#"append {"line": "two"}"#, r#"append {"line": "three"}"#]
    );
    let changes = entries(&world, "tools_changed");
    assert_eq!(changes.len(), 2, "one for each new start");
    for change in changes {
        assert_eq!(change["changed"][0]["tool"]["name"], "s__append");
        assert_eq!(change["changed"][0].get("held"), None, "nothing that binds differs: {change}");
    }
}

#[test]
fn an_approved_call_is_sent_to_a_server_that_only_describes_itself_otherwise() {
    let world = world(&json!([append()]), APPENDS);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    assert_eq!(output(&world.agentd(&["resume", "@last"])), "First.");
    assert_eq!(effects(&world), [r#"append {"line": "one"}"#]);
    assert_eq!(entries(&world, "approval_asked").len(), 1);
    assert_eq!(entries(&world, "tools_changed").len(), 0, "nothing new was said, and nothing that binds differs");
}

#[test]
fn a_changed_write_waits_for_a_person_who_sees_the_difference() {
    let world = world(&json!([append()]), APPENDS);
    assert_eq!(output(&world.agentd(&["run", "agent.yaml", "go", "--yes"])), "First.");
    let new = tool("append", "Appends a line.", false, json!({"force": {"type": "boolean"}}));
    world.write("tools.json", &json!([new]).to_string());
    // What may run without a question was said of the tool that was known then.
    let said = world.agentd(&["resume", "@last", "again", "--yes", "--json"]);
    let waiting = &said.json()["waiting"][0];
    assert_eq!((said.code, &waiting["kind"], &waiting["call"]), (3, &json!("change"), &json!("t3c1")), "{said:#?}");
    assert_eq!(waiting["change"]["before"]["input_schema"]["properties"].get("force"), None);
    assert_eq!(waiting["change"]["after"]["input_schema"]["properties"]["force"], json!({"type": "boolean"}));
    assert!(world.agentd(&["runs"]).stdout.contains("waits for change"), "{}", world.agentd(&["runs"]).stdout);
    let told = world.agentd(&["runs", "show"]).stdout;
    for words in ["its tool has changed", "what its server has changed about the tool", "+|     \"force\": {"] {
        assert!(told.contains(words), "{words:?} is missing: {told}");
    }
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    assert_eq!(output(&world.agentd(&["resume", "@last", "--yes"])), "Second.");
    assert_eq!(output(&world.agentd(&["resume", "@last", "once more", "--yes"])), "Third.", "it is known now");
    assert_eq!(effects(&world).len(), 3);
}

#[test]
fn an_allowed_call_whose_tool_takes_others_by_now_is_asked_about_again() {
    let world = world(&json!([append()]), APPENDS);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    let new = tool("append", "Appends a line.", false, json!({"force": {"type": "boolean"}}));
    world.write("tools.json", &json!([new]).to_string());
    let said = world.agentd(&["resume", "@last", "--json"]);
    assert_eq!((said.code, said.json()["waiting"][0]["kind"].clone()), (3, json!("change")), "{said:#?}");
    assert_eq!(effects(&world), [""; 0]);
    assert_eq!(world.agentd(&["deny", "@last"]).code, 0);
    let said = world.agentd(&["resume", "@last", "--json"]);
    assert_eq!(said.json()["denied"][0]["call"], "t1c1", "{said:#?}");
}

#[test]
fn a_changed_read_is_judged_by_its_new_schema() {
    let look = |more| tool("look", "Looks.", true, more);
    let script = "
answers:
  - calls: [{name: s__renew, arguments: {}}]
  - calls: [{name: s__look, arguments: {line: one}}]
  - either:
      - {when: {error: true}, calls: [{name: s__look, arguments: {line: one, depth: 2}}]}
      - {text: It was taken as before.}
  - text: Looked.
";
    let mut new = look(json!({"depth": {"type": "integer"}}));
    new["inputSchema"]["required"] = json!(["line", "depth"]);
    let world = world(&json!([renew(), look(json!({}))]), script);
    world.write("next.json", &json!([renew(), new]).to_string());
    assert_eq!(output(&world.agentd(&["run", "agent.yaml", "go"])), "Looked.");
    assert_eq!(effects(&world), [r#"look {"depth": 2, "line": "one"}"#]);
    let rejected = entries(&world, "call_rejected");
    assert_eq!(rejected[0]["reason"]["data"]["class"], "schema_mismatch", "{rejected:?}");
}

#[test]
fn a_vanished_tool_is_an_error_and_a_new_one_is_offered() {
    let script = "
answers:
  - calls: [{name: s__append, arguments: {line: one}}]
  - either:
      - {when: {error: true}, calls: [{name: s__append_line, arguments: {line: one}}]}
      - {text: It was there.}
  - text: Appended.
";
    let world = world(&json!([append()]), script);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    world.write("tools.json", &json!([tool("append_line", "Appends a line.", false, json!({}))]).to_string());
    assert_eq!(output(&world.agentd(&["resume", "@last", "--yes"])), "Appended.");
    assert_eq!(effects(&world), [r#"append_line {"line": "one"}"#]);
    assert_eq!(entries(&world, "call_rejected")[0]["reason"]["type"], "tool_changed");
    let change = &entries(&world, "tools_changed")[0];
    assert_eq!(change["gone"], json!([{"server": "s", "tool": "append"}]));
    assert_eq!(change["added"][0]["name"], "s__append_line");
}

#[test]
fn an_approval_is_not_used_up_by_a_call_that_is_not_sent() {
    let world = world(&json!([append()]), "answers: []");
    let fails = world.path("fails");
    let call = || Reply::call("s__append", json!({"line": "one"}));
    let model = Model::answering(move |request| match request.answers() {
        0 | 2 => call(),
        1 => {
            assert!(request.results()[0].contains("not sent"), "{:?}", request.results());
            // From here on the server starts again.
            let _ = fs::remove_file(&fails);
            call()
        }
        _ => Reply::text("Done."),
    });
    let provider = json!({"dialect": "openai-chat", "base_url": model.base_url()});
    world.write("agentd.yaml", &json!({"version": 1, "providers": {"demo": provider}}).to_string());
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
    world.write("fails", "1000");
    assert_eq!(world.agentd(&["resume", "@last"]).code, 3, "the third call is another one");
    assert_eq!(effects(&world), [r#"append {"line": "one"}"#]);
    let given = entries(&world, "approval_given");
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!((&given[0]["by"], &given[1]["call"]), (&given[1]["by"], &json!("t2c1")));
    model.assert_valid();
}
