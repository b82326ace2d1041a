//! A person's word on calls, given from outside: several at once, with other arguments, for a whole run, too late, or
//! never.

use std::fs;

use serde_json::{Value, json};

use crate::cli::World;

fn agent(more: &str) -> String {
    format!("version: 1\nname: notes\nmodel: demo/any\nservers: {{files: {{builtin: files, root: ./notes}}}}\n{more}\n")
}

/// Writes two notes in one answer, and then one of them again.
const WRITES: &str = "
answers:
  - calls:
      - {name: files__write, arguments: {path: b.txt, content: new}}
      - {name: files__write, arguments: {path: c.txt, content: new}}
  - calls: [{name: files__write, arguments: {path: d.txt, content: new}}]
  - either:
      - {when: {error: true}, text: I was not allowed to.}
      - {text: Written.}
";

/// Writes one note.
const WRITE: &str = "
answers:
  - calls: [{name: files__write, arguments: {path: b.txt, content: new}}]
  - either:
      - {when: {error: true}, text: I was not allowed to.}
      - {text: Written.}
";

/// The decisions of the newest run: call, what, and whether a person, the clock or a rule decided.
fn decisions(world: &World) -> Vec<String> {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let shown = world.show();
    let given = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "approval_given");
    let told = given.map(|entry| {
        let (data, by) = (&entry["data"], entry["data"]["by"].as_str().unwrap());
        let by = if by.ends_with(&format!("@{host}")) { "a person" } else { by };
        assert!(data["shown"]["text"].as_str().unwrap().contains("content"), "{data}");
        format!("{} {} by {by}", data["call"].as_str().unwrap(), data["decision"]["type"].as_str().unwrap())
    });
    told.collect()
}

fn policies(world: &World) -> Vec<Value> {
    let shown = world.show();
    let given = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "policy_given");
    given.map(|entry| json!([entry["data"]["pattern"], entry["data"]["allow"]])).collect()
}

#[test]
fn several_are_decided_one_by_one_or_all_at_once() {
    let world = World::new(&agent(""), WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let vague = world.agentd(&["approve", "@last"]);
    assert_eq!(vague.code, 2, "{vague:#?}");
    for shown in ["t1c1 files.write {\"path\":\"b.txt\"", "t1c2 files.write {\"path\":\"c.txt\"", "--all"] {
        assert!(vague.stderr.contains(shown), "{shown:?} is missing: {}", vague.stderr);
    }
    assert_eq!(decisions(&world), [""; 0]);
    let all = world.agentd(&["approve", "@last", "--all"]);
    assert_eq!(all.code, 0, "{all:#?}");
    assert!(all.stderr.contains("\nt1c1, t1c2 allowed\n"), "{all:#?}");
    assert_eq!(decisions(&world), ["t1c1 allow by a person", "t1c2 allow by a person"]);
    assert_eq!(world.agentd(&["resume", "@last"]).code, 3, "the third is asked about anew");
    assert_eq!(world.agentd(&["deny", "@last", "--all"]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "I was not allowed to.\n");
    let twice = world.agentd(&["deny", "@last", "--all"]);
    assert_eq!((twice.code, world.path("notes/c.txt").exists(), world.path("notes/d.txt").exists()), (2, true, false));
}

#[test]
fn a_word_for_the_run_holds_for_what_waits_and_for_what_comes() {
    let world = World::new(&agent(""), WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last", "t1c2", "--for-run"]).code, 0);
    assert_eq!(decisions(&world), ["t1c2 allow by a person", "t1c1 allow by policy"]);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "Written.\n");
    assert_eq!(policies(&world), [json!(["files.write", true])]);

    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["deny", "@last", "t1c1", "--for-run"]).code, 0);
    assert_eq!(decisions(&world), ["t1c1 deny by a person", "t1c2 deny by policy"]);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "I was not allowed to.\n");
}

#[test]
fn allow_is_a_finer_yes_and_is_remembered() {
    let world = World::new(&agent(""), WRITES);
    let wrong = world.agentd(&["run", "agent.yaml", "go", "--allow", "file.write"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("did you mean \"files\"?"), "{wrong:#?}");
    let said = world.agentd(&["run", "agent.yaml", "go", "--allow", "files.w*"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "Written.\n"), "{said:#?}");
    assert_eq!(policies(&world), [json!(["files.w*", true])]);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go", "--allow", "files.edit"]).code, 3);
    assert_eq!(world.agentd(&["resume", "@last", "--allow", "*"]).stdout, "Written.\n");
    assert_eq!(decisions(&world), ["t1c1 allow by policy", "t1c2 allow by policy"]);

    let world = World::new(&agent("policy: {files.write: {approve: deny}}"), WRITES);
    for flags in [&["--allow", "*"][..], &["--yes"]] {
        let said = world.agentd(&[&["run", "agent.yaml", "go"], flags].concat());
        assert_eq!(said.stdout, "I was not allowed to.\n", "{said:#?}");
    }
}

#[test]
fn of_two_decisions_the_second_is_told_that_it_came_too_late() {
    let world = World::new(&agent(""), WRITE);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last", "t1c1"]).code, 0);
    let late = world.agentd(&["deny", "@last", "t1c1"]);
    assert_eq!(late.code, 2, "{late:#?}");
    assert!(late.stderr.contains("t1c1 is decided already: ") && late.stderr.contains("allowed it"), "{late:#?}");
    assert_eq!(decisions(&world), ["t1c1 allow by a person"]);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "Written.\n");
}

#[test]
fn other_arguments_are_checked_before_anything_is_decided_and_told_to_the_model() {
    let world = World::new(&agent("policy: {files.write: {approve: deny, when: args.path == 'z.txt'}}"), WRITE);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    for (arguments, why) in [
        ("{", "JSON"),
        (r#"{"path": "c.txt"}"#, "content"),
        (r#"{"path": "c.txt", "content": 7}"#, "content"),
        (r#"{"path": "z.txt", "content": "x"}"#, "the policy of this agent refuses files.write with these arguments"),
    ] {
        let said = world.agentd(&["approve", "@last", "t1c1", "--arguments", arguments]);
        assert_eq!(said.code, 2, "{said:#?}");
        assert!(said.stderr.contains("t1c1 cannot run with these arguments") && said.stderr.contains(why), "{said:#?}");
    }
    assert_eq!(decisions(&world), [""; 0]);
    let edited = r#"{"path": "c.txt", "content": "better"}"#;
    assert_eq!(world.agentd(&["approve", "@last", "--arguments", edited]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "Written.\n");
    assert_eq!(fs::read_to_string(world.path("notes/c.txt")).unwrap(), "better");
    assert!(!world.path("notes/b.txt").exists());
    let shown = world.show();
    let entry = |kind: &str| {
        let entries = shown["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["type"] == kind).unwrap()["data"].clone()
    };
    let given = entry("approval_given");
    assert_eq!(given["decision"]["data"]["text"], edited, "both versions are kept");
    assert_eq!(given["shown"]["text"], r#"{"path":"b.txt","content":"new"}"#);
    assert_eq!(entry("tool_started")["arguments"]["text"], edited);
    let told = world.agentd(&["runs", "show", "@last"]).stdout;
    let result = told.lines().rfind(|line| line.contains("✓ files.write")).unwrap();
    assert!(result.contains(&format!("✓ files.write {edited} ")) && !result.contains("b.txt"), "{told}");
}

/// Lets the time pass that the newest run's question stands.
fn let_it_expire(world: &World) {
    let until = world.show()["waiting"][0]["until_ms"].as_i64().unwrap();
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    while now() <= until {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_question_expires_while_nobody_runs() {
    let parked = |on_expire: &str| {
        let world = World::new(&agent(&format!("approvals: {{expire: 2s, on_expire: {on_expire}}}")), WRITE);
        assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
        world
    };
    let worlds = [("deny", "I was not allowed to."), ("allow", "Written.")].map(|it| (parked(it.0), it));
    let late_world = parked("deny");
    for (world, (on_expire, output)) in worlds {
        let_it_expire(&world);
        assert_eq!(world.agentd(&["resume", "--all"]).code, 0);
        assert_eq!(decisions(&world), [format!("t1c1 {on_expire} by expiry")]);
        assert_eq!(world.show()["output"], output);
    }
    let_it_expire(&late_world);
    let late = late_world.agentd(&["approve", "@last", "t1c1"]);
    assert_eq!(late.code, 2, "{late:#?}");
    assert!(late.stderr.contains("after the question had expired"), "{late:#?}");
    assert_eq!(decisions(&late_world), ["t1c1 deny by expiry"]);
    assert_eq!(late_world.agentd(&["resume", "@last"]).stdout, "I was not allowed to.\n");
}

#[test]
fn a_no_is_heard_after_the_clock_has_allowed_a_call_that_nobody_has_sent_yet() {
    let world = World::new(&agent("approvals: {expire: 2s, on_expire: allow}"), WRITE);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let_it_expire(&world);
    // Whoever comes too late to allow it has its time looked at.
    assert_eq!(world.agentd(&["approve", "@last", "t1c1"]).code, 0, "it came to what was wanted");
    assert_eq!(decisions(&world), ["t1c1 allow by expiry"]);
    let again = world.agentd(&["approve", "@last"]);
    assert!(again.code == 0 && again.stderr.contains("allowed already"), "{again:#?}");
    let denied = world.agentd(&["deny", "@last"]);
    assert_eq!(denied.code, 0, "{denied:#?}");
    assert_eq!(decisions(&world), ["t1c1 allow by expiry", "t1c1 deny by a person"]);
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "I was not allowed to.\n");
    assert!(!world.path("notes/b.txt").exists());
}

#[test]
fn an_agent_says_what_happens_when_nobody_is_there() {
    for (unattended, code, output) in
        [("wait", 3, ""), ("deny", 0, "I was not allowed to.\n"), ("allow", 0, "Written.\n")]
    {
        let world = World::new(&agent(&format!("approvals: {{unattended: {unattended}}}")), WRITE);
        let said = world.agentd(&["run", "agent.yaml", "go"]);
        assert_eq!((said.code, said.stdout.as_str()), (code, output), "{said:#?}");
        let expected = if code == 0 { vec![format!("t1c1 {unattended} by policy")] } else { vec![] };
        assert_eq!(decisions(&world), expected);
    }
}

#[test]
fn what_a_call_says_decides_whether_it_asks() {
    let policy = "policy:
  files.write: {approve: allow, when: args.path is startingwith('b')}
  \"files.*\": {approve: deny, when: args.content == 'bad'}";
    let script = "
answers:
  - calls:
      - {name: files__write, arguments: {path: b.txt, content: good}}
      - {name: files__write, arguments: {path: b2.txt, content: bad}}
      - {name: files__write, arguments: {path: c.txt, content: good}}
  - {text: Done.}
";
    let world = World::new(&agent(policy), script);
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["waiting"][0]["call"]), (3, &json!("t1c3")), "{said:#?}");
    assert_eq!((world.path("notes/b.txt").exists(), world.path("notes/b2.txt").exists()), (true, false));

    // A condition that fails asks, and neither --yes nor silence answers that.
    let policy = "policy: {files.list: {approve: deny, when: args.path == 'secret'}}\napprovals: {unattended: allow}";
    let world = World::new(&agent(policy), "answers: [{calls: [{name: files__list, arguments: {}}]}, {text: Done.}]");
    let said = world.agentd(&["run", "agent.yaml", "go", "--yes", "--allow", "*", "--json"]);
    assert_eq!((said.code, &said.json()["waiting"][0]["call"]), (3, &json!("t1c1")), "{said:#?}");
    assert!(said.stderr.contains("a condition of the policy fails on its arguments"), "{said:#?}");
    let noted = world.agentd(&["runs", "show", "@last"]).stdout;
    assert!(noted.contains("policy.\"files.list\".when: the condition fails"), "{noted}");
}
