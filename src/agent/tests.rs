use std::path::Path;

use serde_json::json;

use super::*;
use crate::{
    chat::EffectSource,
    yaml::{Content, Document, Node, Style},
};

const HEAD: &str = "version: 1\nname: a\nmodel: demo/any\n";

fn good(text: &str) -> Agent {
    Agent::parse("a.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn tool(name: &str) -> ToolName {
    let (server, tool) = name.split_once('.').unwrap();
    ToolName { server: server.to_owned(), tool: tool.to_owned() }
}

#[test]
fn the_smallest_agent_has_all_defaults() {
    insta::assert_debug_snapshot!(good(HEAD));
}

#[test]
fn every_key_is_read() {
    let text = r#"
# yaml-language-server: $schema=agent.json
version: 1
name: triage-2
description: Sorts incoming tickets
model: {name: local/meta/llama-3, steps: {first: smart, tools: local/small, final: smart}, temperature: 0.2, output_tokens: 4_000}
instructions: |
  You sort tickets of {{ input.product }}.
input:  {type: object, properties: {product: {type: string, maxLength: 20}}, required: [product]}
output: {type: object, properties: {severity: {enum: [low, high]}}, required: [severity]}
servers:
  files:  {builtin: files, root: ./tickets}
  github:
    command: npx
    args: [-y, "@modelcontextprotocol/server-github@2025.4.8", 1.10]
    env: {GITHUB_TOKEN: "${GITHUB_TOKEN}", NO: no}
    cwd: ${HOME}
    required: false
    trust: none
    effect: read
    timeout: 90s
    total_timeout: 1h
    start_timeout: 10s
    tools: {allow: ["issue_*", search], deny: ["*delete*"]}
policy:
  "github.issue_create": {effect: write, approve: ask, timeout: 30s, total_timeout: 2m, retry_timeout: 90s, on_doubt: ask, parallel: true}
  "files.*": {approve: allow, repair: unique}
  "files.write": {approve: deny, when: "'..' in args.path"}
limits: {turns: 40, tool_calls: 200, tokens: 2_000_000, cost: $1.50, active: 30m}
approvals: {default: ask, unattended: deny, expire: 24h, on_expire: allow}
context: {compact_at: 0.7, tool_result: 128KiB}
repair: {ask_again: 0, policy: {read: off, write: lossless}, text_calls: off}
on_doubt: {write: ask, destructive: tell}
"#;
    insta::assert_debug_snapshot!(good(text));
}

/// Bad files by what is wrong with them; each text follows the smallest agent unless it starts anew.
const BAD: &[(&str, &str)] = &[
    ("empty", "=\n"),
    ("a list", "=- version: 1\n"),
    ("text", "=an agent\n"),
    ("nothing that is needed", "=description: x\n"),
    ("two documents", "---\nversion: 1\n"),
    ("unknown keys", "instruction: x\nmodle: y\nsystem_prompt: z\n"),
    ("duplicate keys", "limits: {turns: 1, turns: 2}\nname: b\n"),
    ("aliases and merge keys", "limits: &l {turns: 1}\napprovals: *l\ncontext: {<<: *l}\n"),
    ("another version", "=version: 2\nname: a\nmodel: demo/any\n"),
    ("a version in quotes that is no number", "=version: latest\nname: a\nmodel: demo/any\n"),
    ("bad names", "=version: 1\nname: My Agent\nmodel: demo/any\n"),
    (
        "a long name",
        "=version: 1\nname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nmodel: demo/any\n",
    ),
    ("a model without provider", "=version: 1\nname: a\nmodel: /gpt-5\n"),
    ("a model from the environment", "=version: 1\nname: a\nmodel: ${MODEL}\n"),
    ("a model as map", "=version: 1\nname: a\nmodel: {temperature: hot, output_tokens: 0, top_p: 1}\n"),
    ("a wrong indent", "limits:\n  turns: 1\n tool_calls: 2\n"),
    ("a tab", "limits:\n\tturns: 1\n"),
    ("colons in text", "description: Sorts: tickets\n"),
    (
        "yes and no",
        "servers:\n  a: {command: x, required: yes}\n  b: {command: x, required: 1}\npolicy: {\"a.*\": {parallel: on}}\n",
    ),
    ("numbers", "limits: {turns: 0, tool_calls: 1e3, tokens: 010, cost: 1.50, active: 30}\nrepair: {ask_again: 11}\n"),
    (
        "repairs",
        "repair: {policy: {writes: lossless, read: all}, text_calls: never}\npolicy: {\"*.x\": {repair: losless}}\n",
    ),
    ("numbers of other kinds", "limits: {turns: '5', tool_calls: -1, tokens: many, cost: $, active: 5 years}\n"),
    ("sizes", "context: {tool_result: 10}\n"),
    ("sizes that are none", "context: {tool_result: large, compact_at: 80}\n"),
    ("a schema with a wrong type", "output:\n  type: object\n  properties:\n    severity: {type: strin}\n"),
    ("a schema that is no object", "input: {type: string}\noutput: [a, b]\n"),
    (
        "a schema that refers elsewhere",
        "output:\n  type: object\n  properties:\n    a: {$ref: \"https://example.com/a.json\"}\n",
    ),
    ("a schema with odd numbers", "input: {type: object, properties: {a: {maximum: 010, minimum: 1_0}}}\n"),
    ("a required list that is none", "input:\n  type: object\n  required: product\n"),
    (
        "a template that does not parse",
        "input: {type: object}\ninstructions: |\n  Sort tickets.\n\n  Product: {{ input.product\n",
    ),
    (
        "a template with unknown names",
        "input: {type: object, properties: {product: {type: string}}}\ninstructions: |\n  You sort {{ product }}\n  of {{ input.prodct }}, {{ user.name }}.\n",
    ),
    ("a template on one line", "input: {type: object}\ninstructions: \"{% if %}\"\n"),
    ("servers that are a list", "servers:\n  - {command: x}\n"),
    ("bad server names", "servers: {My_Server: {command: x}, 1a: {command: x}, agentd: {command: x}}\n"),
    (
        "servers that start nothing",
        "servers:\n  a: {}\n  b: {comand: x}\n  c: {url: \"https://example.com\"}\n  d:\n  e: {command: x, builtin: files}\n",
    ),
    (
        "bundled servers",
        "servers:\n  a: {builtin: fils, root: .}\n  b: {builtin: files}\n  c: {builtin: files, root: '', args: [x]}\n  d: {builtin: files, root: ~/notes}\n",
    ),
    (
        "commands",
        "servers:\n  a: {command: npx -y server}\n  b: {command: x, args: -y, env: [A]}\n  c: {command: x, args: [[y]], env: {1A: x, B: }}\n  d: {command: x, root: y}\n",
    ),
    ("variables", "servers:\n  a: {command: \"${A\", args: [\"${A:-b}\", \"${}\"], env: {A: \"${A-B}\"}}\n"),
    ("variables within braces", "servers:\n  a: {command: x, env: {A: ${A}}}\n"),
    (
        "server settings",
        "servers:\n  a:\n    command: x\n    trust: full\n    effect: reads\n    timeout: 0s\n    total_timeout: soon\n    tools: {allow: \"*\", deny: [\"[ab]\", ''], only: x}\n",
    ),
    ("a cap below the patience", "servers: {a: {command: x, timeout: 5m, total_timeout: 1m}}\n"),
    (
        "policies",
        "servers: {github: {command: x}}\npolicy:\n  gihub.issue: {approve: allow}\n  issue: {approve: allow}\n  github.*: allow\n  \"github.{a,b}\": {aprove: allow, effect: wirte, approve: yes, verify: {}}\n",
    ),
    ("a policy for a server with a fault", "servers: {github: {comand: x}}\npolicy: {github.*: {on_doubt: tell me}}\n"),
    ("approvals", "approvals: {default: ask-on-write, on_expire: allow}\n"),
    ("doubts", "on_doubt: {write: tell, destructive: never, read: retry}\n"),
    ("what later versions have", "agents: {summarise: ./summarise.yaml}\n"),
];

#[test]
fn bad_files_are_told_all_that_is_wrong_with_them() {
    let shown: Vec<String> = BAD
        .iter()
        .map(|(what, text)| {
            let text = match text.strip_prefix('=') {
                Some(text) => text.to_owned(),
                None => format!("{HEAD}{text}"),
            };
            match Agent::parse("a.yaml", &text) {
                Ok(agent) => panic!("{what} is accepted: {agent:#?}"),
                Err(problems) => format!("# {what}\n{problems}\n"),
            }
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

/// Bad files of which only the reader knows what is wrong, and what that is.
const READER_ONLY: &[(&str, &str)] = &[
    ("a schema with a wrong type", "what a schema is, its own meta-schema says"),
    ("a schema that refers elsewhere", "the same"),
    ("a required list that is none", "the same"),
    ("a template that does not parse", "templates"),
    ("a template with unknown names", "templates"),
    ("a template on one line", "templates"),
    ("a cap below the patience", "one value against another"),
    ("variables", "how variables are written"),
    ("a schema with odd numbers", "numbers that readers read differently"),
];

/// A file as an editor sees it, which has a schema and YAML's core schema and nothing else; `None` when it is no YAML that
/// we take.
fn as_editors_see(text: &str) -> Option<Value> {
    fn value(node: &Node) -> Value {
        match &node.content {
            Content::List(list) => list.iter().map(value).collect(),
            Content::Map(members) => members.iter().map(|(key, node)| (key.text.clone(), value(node))).collect(),
            Content::Scalar(..) if node.is_nothing() => Value::Null,
            Content::Scalar(text, Style::Plain) => match text.as_str() {
                "true" | "True" | "TRUE" => true.into(),
                "false" | "False" | "FALSE" => false.into(),
                text if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => text.into(),
                text => match (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>()) {
                    (Ok(number), ..) => number.into(),
                    (_, Ok(number), _) => number.into(),
                    (.., Ok(number)) => number.into(),
                    _ => text.into(),
                },
            },
            Content::Scalar(text, _) => text.as_str().into(),
        }
    }
    let (document, faults) = Document::parse("a.yaml", text).ok()?;
    faults.is_empty().then(|| value(document.root()))
}

/// Good files beside those that come with us.
const GOOD: &[&str] = &[
    HEAD,
    "version: '1'\nname: a-b_c9\nmodel: smart\n",
    "version: 1\nname: 5\nmodel: {name: local/meta/llama-3}\n",
    "version: 1\nname: a\nmodel: {name: a/b, temperature: 0, output_tokens: 1}\ndescription: 1.10\n",
    "version: 1\nname: a\nmodel: {name: a/b, temperature: 2.0, steps: {final: a/b}}\n",
    "version: 1\nname: a\nmodel: a/b\ninstructions: no\n",
    "version: 1\nname: a\nmodel: a/b\nlimits: {turns: 1_000, cost: $0.05, active: 1h 30m}\n",
    "version: 1\nname: a\nmodel: a/b\nlimits: {tokens: 10, active: 90 minutes}\nrepair: {ask_again: 0}\n",
    "version: 1\nname: a\nmodel: a/b\ncontext: {compact_at: 1, tool_result: 4096}\n",
    "version: 1\nname: a\nmodel: a/b\ncontext: {tool_result: 1.5 MB}\napprovals: {default: deny}\n",
    "version: 1\nname: a\nmodel: a/b\nservers: {}\npolicy: {\"*\": {approve: deny}}\n",
    "version: 1\nname: a\nmodel: a/b\nservers: {f: {builtin: files, root: \"${HOME}/x\"}}\npolicy: {f.read: {parallel: true}}\n",
    "version: 1\nname: a\nmodel: a/b\nservers: {f: {command: ./x, args: [], env: {}}}\non_doubt: {write: ask}\n",
    "version: 1\nname: a\nmodel: a/b\nservers: {f: {command: x, args: [1, true, \"\"], env: {A: 1}, timeout: 1.5h}}\n",
    "version: 1\nname: a\nmodel: a/b\nrepair: {policy: {read: off}}\napprovals: {expire: 7d, on_expire: deny}\n",
    "{version: 1, name: a, model: a/b, input: {type: object}, instructions: \"{{ input }}\"}\n",
];

#[test]
fn schema_and_parser_agree() {
    let schema = Schema::compile(&Arc::new(Agent::schema().unwrap())).unwrap();
    let own = [
        include_str!("../../agents/tidy.yaml"),
        include_str!("../../agents/changelog.yaml"),
        include_str!("reference.yaml"),
    ];
    for text in GOOD.iter().chain(&own) {
        good(text);
        let seen = as_editors_see(text).unwrap();
        assert_eq!(schema.check_value(&seen), Ok(()), "{text}");
    }
    for (what, text) in BAD {
        let text = text.strip_prefix('=').map_or_else(|| format!("{HEAD}{text}"), str::to_owned);
        let Some(seen) = as_editors_see(&text) else { continue };
        let marked = READER_ONLY.iter().any(|(marked, _)| marked == what);
        assert_eq!(schema.check_value(&seen).is_ok(), marked, "{what}: {text}");
    }
    assert!(READER_ONLY.iter().all(|(marked, _)| BAD.iter().any(|(what, _)| what == marked)));
}

#[test]
fn the_schema_holds_every_key_with_what_it_is_for() {
    insta::assert_json_snapshot!(Agent::schema().unwrap());
}

#[test]
fn the_most_specific_rule_wins_setting_by_setting() {
    let agent = good(&format!(
        "{HEAD}{}",
        r#"
servers:
  github: {command: x, effect: read, timeout: 20s}
  files: {builtin: files, root: .}
policy:
  "*": {on_doubt: ask}
  "github.*": {approve: allow, timeout: 30s}
  "github.issue_*": {approve: ask, effect: write, parallel: true}
  "github.issue_create": {total_timeout: 2m}
  "github.i????_create": {parallel: false, effect: idempotent}
  "*delete*": {approve: deny}
  "github.repo_delete": {approve: allow}
"#
    ));
    let policies: Vec<_> = ["github.search", "github.issue_create", "github.repo_delete", "files.read", "other.x"]
        .iter()
        .map(|name| format!("{name}: {:?}", agent.policy_for(&tool(name))))
        .collect();
    insta::assert_snapshot!(policies.join("\n"));
}

#[test]
fn the_word_on_a_call_depends_on_its_arguments() {
    let agent = good(&format!(
        "{HEAD}{}",
        r#"
servers:
  pay: {command: x}
  files: {builtin: files, root: .}
policy:
  "pay.*": {approve: deny, when: args.amount > 1000}
  "pay.transfer": {approve: allow, when: "args.amount < 10 and args.to == 'rent'"}
  "pay.refund": {approve: allow}
  "files.*": {approve: allow, when: args.path is startingwith("notes/")}
  "files.write": {approve: ask}
  "*.drop": {approve: deny}
"#
    ));
    let word = |call: &str| {
        let (name, arguments) = call.split_once(' ').unwrap();
        let said = agent.approval(&tool(name), &serde_json::from_str(arguments).unwrap());
        said.map_or_else(|unclear| format!("unclear: {}", unclear.pattern), |word| format!("{word:?}"))
    };
    for (call, expected) in [
        (r#"pay.transfer {"amount": 5, "to": "rent"}"#, "Allow"),
        (r#"pay.transfer {"amount": 5, "to": "me"}"#, "AskOnWrite"),
        (r#"pay.transfer {"amount": 50, "to": "rent"}"#, "AskOnWrite"),
        (r#"pay.transfer {"amount": 5000, "to": "rent"}"#, "Deny"),
        // Whether to refuse cannot be told, whatever else would allow it.
        (r#"pay.refund {}"#, "unclear: pay.*"),
        (r#"pay.refund {"amount": 7}"#, "Allow"),
        (r#"pay.transfer {"amount": 5}"#, "unclear: pay.transfer"),
        (r#"pay.drop {}"#, "Deny"),
        (r#"files.read {"path": "notes/a"}"#, "Allow"),
        (r#"files.read {"path": "etc/a"}"#, "AskOnWrite"),
        (r#"files.read {}"#, "unclear: files.*"),
        // A more specific rule has spoken.
        (r#"files.write {}"#, "Ask"),
        (r#"files.write {"path": "notes/a"}"#, "Ask"),
    ] {
        assert_eq!(word(call), expected, "{call}");
    }
    // What holds whatever the arguments are.
    let always = |name: &str| agent.policy_for(&tool(name)).approve;
    assert_eq!(always("pay.transfer"), None);
    assert_eq!((always("pay.refund"), always("files.write")), (Some(Approval::Allow), Some(Approval::Ask)));
    assert_eq!(always("files.drop"), Some(Approval::Deny));
}

#[test]
fn of_two_patterns_that_say_as_much_the_later_one_wins() {
    let file = format!(
        "{HEAD}servers: {{a: {{command: x}}}}\npolicy:\n  \"a.x?\": {{approve: ask}}\n  \"a.?y\": {{approve: allow}}\n"
    );
    assert_eq!(good(&file).policy_for(&tool("a.xy")).approve, Some(Approval::Allow));
}

#[test]
fn wrong_rules_about_approval_are_told_with_their_places() {
    let text = format!(
        "{HEAD}{}",
        r#"
servers: {files: {builtin: files, root: .}}
policy:
  "files.a": {when: "true"}
  "files.b": {approve: allow, when: "args.path is startingwith('x'"}
  "files.c": {approve: allow, when: "{{ args.path == 'x' }}"}
  "files.d": {approve: allow, when: "path == 'x' or arg.y"}
  "files.e": {approve: alow, wen: "true"}
  "files.f": {approve: deny, when: [args.path]}
  "files.g": {approve: ask_on_write}
  "files.h": {approve: allow, when: args.path is startingwit('x')}
  "files.i": {approve: allow, when: (args.path | uper) == 'X'}
approvals: {default: ask_on_writ, unattended: alow, expires: 24h, on_expire: denied}
"#
    );
    insta::assert_snapshot!(Agent::parse("a.yaml", &text).unwrap_err().to_string());
}

#[test]
fn patterns_beside_the_file_are_checked_against_its_servers() {
    let agent = good(&format!("{HEAD}servers: {{files: {{builtin: files, root: .}}}}\n"));
    let check = |pattern: &str| agent.check_pattern(pattern).err().unwrap_or_default();
    assert_eq!(["files.write", "files.*", "*", "f*.x", "*.write"].map(check), [""; 5]);
    assert_eq!(check("file.write"), "unknown server \"file\"; did you mean \"files\"?");
    assert_eq!(check("write"), "write server.tool, such as files.write or files.*");
    assert!(check("files.[ab]").contains("stands for anything") && !check("").is_empty());
}

#[test]
fn rules_that_hold_for_nothing_are_told() {
    let agent = good(&format!(
        "{HEAD}servers: {{a: {{command: x}}, b: {{command: x}}}}\npolicy: {{a.wrote: {{approve: deny}}, a.w*: {{approve: ask}}, \
         b.gone: {{approve: deny}}, \"*.z\": {{approve: deny}}}}\n"
    ));
    let (write, read) = (tool("a.write"), tool("a.read"));
    assert_eq!(
        agent.idle_rules(&[&write, &read]),
        ["the rule for a.wrote holds for nothing: a offers no such tool; did you mean a.write?"],
        "of b nothing is known"
    );
}

#[test]
fn repairs_follow_the_tool_then_the_effect_then_its_default() {
    let agent = good(
        r#"
version: 1
name: a
model: demo/any
servers: {files: {builtin: files, root: .}}
repair: {policy: {write: unique, read: off}}
policy: {"files.move": {repair: off}}
"#,
    );
    let of = |tool: &str, effect: Effect| {
        agent.repairs_for(&ToolDef {
            name: tool.into(),
            origin: ToolName { server: "files".to_owned(), tool: tool.to_owned() },
            description: "".into(),
            input_schema: Default::default(),
            effect,
            effect_source: EffectSource::Default,
            repeatable: false,
            additive: false,
            hash: "".into(),
        })
    };
    assert_eq!(of("move", Effect::Write), repair::Policy::Off);
    assert_eq!(of("copy", Effect::Write), repair::Policy::Unique);
    assert_eq!(of("read", Effect::Read), repair::Policy::Off);
    assert_eq!(of("delete", Effect::Destructive), repair::Policy::Lossless);
}

#[test]
fn globs_match_from_end_to_end() {
    for (pattern, text) in [
        ("*", ""),
        ("*", "a.b"),
        ("a.*", "a."),
        ("a?c", "aüc"),
        ("*_*_*", "a_b_c"),
        ("**b", "ab"),
        ("", ""),
        ("a*b*c", "abbcbc"),
    ] {
        assert!(glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a", "ab"), ("a.*", "a"), ("?", ""), ("*b", "abc"), ("A", "a"), ("[ab]", "a"), ("", "a")] {
        assert!(!glob(pattern, text), "{pattern} {text}");
    }
    assert!(!glob(&"*a".repeat(1000), &"a".repeat(900)));
}

#[test]
fn tools_are_offered_by_filter() {
    let filter = |allow: &[&str], deny: &[&str]| ToolFilter {
        allow: allow.iter().map(|glob| glob.to_string()).collect(),
        deny: deny.iter().map(|glob| glob.to_string()).collect(),
    };
    assert!(filter(&[], &[]).offers("x"));
    assert!(filter(&["issue_*"], &["*delete*"]).offers("issue_create"));
    assert!(!filter(&["issue_*"], &["*delete*"]).offers("issue_delete"));
    assert!(!filter(&["issue_*"], &[]).offers("search"));
}

#[test]
fn instructions_are_rendered_from_a_checked_input() {
    let plain = good(&format!("{HEAD}instructions: Say {{{{ hello }}}}.\n"));
    assert_eq!(plain.instructions(None), Ok(Some("Say {{ hello }}.".to_owned())));
    assert_eq!(good(HEAD).instructions(None), Ok(None));

    let agent = good(&format!(
        "{HEAD}{}",
        "input:\n  type: object\n  properties: {product: {type: string}, tags: {type: array}}\n  required: [product]\n\
         instructions: |\n  You sort {{ input.product | upper }} <b>.\n  {% for tag in input.tags %}- {{ tag }}\n  {% endfor %}\n"
    ));
    assert_eq!(
        agent.instructions(Some(&json!({"product": "a & b", "tags": ["x", 1]}))),
        Ok(Some("You sort A & B <b>.\n- x\n- 1\n".to_owned()))
    );
    let wrong = [
        plain.instructions(Some(&json!({}))),
        agent.instructions(None),
        agent.instructions(Some(&json!({"product": 5}))),
        agent.instructions(Some(&json!("x"))),
        // Allowed by the schema, and missing where the template wants it.
        agent.instructions(Some(&json!({"product": "x"}))),
    ];
    let told: Vec<_> = wrong
        .into_iter()
        .map(|result| {
            let problem = result.unwrap_err();
            format!("{problem}\n{}", problem.excerpt)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

const SERVERS: &str = r#"
servers:
  notes: {builtin: files, root: ./a/./notes}
  there: {builtin: files, root: "${ROOT}/x"}
  github:
    command: npx
    args: [-y, "--token=${TOKEN}", "$${TOKEN}"]
    env: {GITHUB_TOKEN: "${TOKEN}", PLAIN: x}
  own: {command: ./bin/server, cwd: ../work}
  maybe: {command: x, args: ["${UNSET}"], required: false}
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("hunter2".to_owned()),
        "ROOT" => Some("/srv".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

#[test]
fn servers_are_made_ready() {
    let servers = good(&format!("{HEAD}{SERVERS}")).expand(Path::new("/home/a"), &env, &|_| true).unwrap();
    let show = |ready: &Ready| match &ready.launch {
        Launch::Files { root } => format!("{}: files in {}", ready.server.name, root.display()),
        Launch::Command { command, args, env, cwd } => {
            let args: Vec<_> = args.iter().map(|arg| arg.expose()).collect();
            let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect();
            let (name, command, cwd) = (&ready.server.name, command.display(), cwd.display());
            format!("{name}: {command} {} with {} in {cwd}", args.join(" "), env.join(" "))
        }
    };
    let shown: Vec<_> = servers.ready.iter().map(show).collect();
    let left_out: Vec<_> = servers.left_out.iter().map(|(name, why)| format!("{name} left out: {why}")).collect();
    insta::assert_snapshot!([shown, left_out].concat().join("\n"));
}

#[test]
fn secrets_are_not_shown() {
    let servers = good(&format!("{HEAD}{SERVERS}")).expand(Path::new("/home/a"), &env, &|_| true).unwrap();
    let shown = format!("{servers:?} {servers:#?}");
    assert!(shown.contains("${TOKEN}") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn unset_variables_are_told_with_their_place() {
    let text = format!(
        "{HEAD}{}",
        r#"servers:
  a:
    command: ${A}
    args:
      - --x
      - "${B} and ${C}"
    env: {KEY: "${D}"}
    cwd: ${EMPTY}
  b: {builtin: files, root: "${E}"}
"#
    );
    let problems = good(&text).expand(Path::new("/"), &env, &|_| true).unwrap_err();
    insta::assert_snapshot!(problems.to_string());
}

/// The agents that come with us are good.
#[test]
fn bundled_agents_are_accepted() {
    for (file, text) in [
        ("agents/tidy.yaml", include_str!("../../agents/tidy.yaml")),
        ("agents/changelog.yaml", include_str!("../../agents/changelog.yaml")),
    ] {
        Agent::parse(file, text).unwrap_or_else(|problems| panic!("{problems}"));
    }
}
