//! The first steps and what helps with them: `init`, `doctor`, attached files, completions, manual pages.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::{
    model::{Model, Reply, nobody},
    probe::{World, right},
    terminal::Terminal,
};

/// What `doctor` found about something.
fn found<'a>(document: &'a Value, about: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["about"] == about).unwrap_or_else(|| panic!("{about}: {document:#}"))
}

#[test]
fn a_doctor_says_of_everything_how_it_stands_and_what_mends_it() {
    let (well, locked) = (right(), Model::replying([]));
    locked.require_key("sk-right-one");
    let world = World::of(
        &[("well", well.base_url()), ("locked", locked.base_url()), ("gone", nobody())],
        "routes: {smart: {targets: [well/m, gone/m]}}\n",
    );
    fs::create_dir_all(world.path("agents")).unwrap();
    let agent = |name: &str, text: &str| fs::write(world.path(&format!("agents/{name}.yaml")), text).unwrap();
    agent("good", "version: 1\nname: good\nmodel: smart\nservers: {files: {builtin: files, root: .}}\n");
    agent(
        "bad",
        "version: 1\nname: bad\nmodel: locked/m\nservers:\n  none: {command: there-is-no-such-program}\n  files: {builtin: files, root: .}\n",
    );
    agent("broken", "version: 1\nname: broken\nmodle: smart\n");
    let document = world.json(2, &["doctor"]);
    let stands = |about: &str| found(&document, about)["verdict"].as_str().unwrap();
    let told = |about: &str, what: &str| found(&document, about)[what].as_str().unwrap().to_owned();
    assert_eq!(document["ok"], false);
    for good in ["settings", "data", "agent good", "server files of good", "server files of bad", "model well/m"] {
        assert_eq!(stands(good), "pass", "{document:#}");
    }
    assert_eq!(stands("agent broken"), "fail");
    assert!(told("agent broken", "message").contains("agents/broken.yaml:3:1"), "{document:#}");
    assert_eq!(told("agent broken", "mend"), "agentd check agents/broken.yaml");
    assert_eq!(stands("server none of bad"), "fail");
    let mend = "install there-is-no-such-program, or name it with its path: it is not on the PATH";
    assert_eq!(told("server none of bad", "mend"), mend);
    assert_eq!(stands("provider gone"), "fail");
    assert!(told("provider gone", "message").contains("nothing listens"), "{document:#}");
    assert_eq!(stands("provider locked"), "fail");
    assert!(told("provider locked", "message").contains("HTTP 401"), "{document:#}");
    assert_eq!(told("provider locked", "mend"), "check the address and the key of locked in agentd.yaml");
    assert_eq!(well.count(), 1, "one request is enough");
}

/// A server that renders its prompt without the tools, as llama.cpp does with a template that knows none.
#[test]
fn a_doctor_names_a_template_without_tools_and_why_nothing_came() {
    let says = |caps: Option<Value>| {
        let answer = move |request: &crate::model::Request| match &caps {
            Some(caps) if request.path == "/props" => Some(Reply::json(200, caps)),
            None if request.path == "/props" => Some(Reply::status(404)),
            _ => Some(Reply::text("I have no tools.").usage(60, 6)),
        };
        Model::judged(|_| Ok(()), Box::new(answer))
    };
    let (named, counted) = (says(Some(json!({"chat_template_caps": {"supports_tools": false}}))), says(None));
    let silent = Model::answering(|_| Reply::silence());
    let world = World::new(&format!(
        "providers:\n  named: {{dialect: openai-chat, base_url: \"{}\"}}\n  counted: {{dialect: openai-chat, base_url: \"{}\"}}\n  \
         silent: {{dialect: openai-chat, base_url: \"{}\", timeouts: {{first_token: 100ms}}}}\n\
         routes: {{all: {{targets: [named/m, counted/m, silent/m]}}}}\n",
        named.base_url(),
        counted.base_url(),
        silent.base_url()
    ));
    let document = world.json(4, &["doctor"]);
    let told = |about: &str| found(&document, about)["message"].as_str().unwrap().to_owned();
    assert!(told("model named/m").contains("shows the model no tools"), "{document:#}");
    assert!(told("model counted/m").contains("its server read 60 tokens of about "), "{document:#}");
    assert!(told("model silent/m").contains("nothing of an answer within 100ms (first-token timeout)"), "{document:#}");
    let asked = counted.requests().into_iter().find(|request| request.method == "POST").unwrap();
    assert!(asked.body["max_tokens"].as_u64().is_some(), "an answer has a bound: {}", asked.body);
}

#[test]
fn a_doctor_asks_no_model_when_told_so_and_knows_a_good_agent_by_name() {
    let model = right();
    let world = World::of(&[("well", model.base_url())], "");
    fs::create_dir_all(world.path("agents")).unwrap();
    fs::write(world.path("agents/good.yaml"), "version: 1\nname: good\nmodel: well/m\n").unwrap();
    fs::write(world.path("agents/broken.yaml"), "version: 1\n").unwrap();
    let (code, stdout, stderr) = world.said(&["doctor", "good", "--offline"]);
    assert_eq!((code, model.count()), (0, 0), "{stdout}{stderr}");
    assert!(stderr.contains("✓ agent good: agents/good.yaml is sound"), "{stderr}");
}

#[test]
fn a_doctor_takes_neither_a_script_for_a_model_nor_settings_for_an_agent() {
    let world = World::new("providers: {demo: {dialect: scripted, script: agents/good.script.yaml}}\n");
    fs::create_dir_all(world.path("agents")).unwrap();
    fs::write(world.path("agents/good.yaml"), "version: 1\nname: good\nmodel: demo/any\n").unwrap();
    fs::write(world.path("agents/good.script.yaml"), "version: 1\nanswers: [{text: Hello.}]\n").unwrap();
    fs::copy(world.path("agentd.yaml"), world.path("agents/agentd.yaml")).unwrap();
    let document = world.json(0, &["doctor"]);
    let about: Vec<&str> =
        document["findings"].as_array().unwrap().iter().map(|finding| finding["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["settings", "data", "agent good", "provider demo"], "{document:#}");
}

#[test]
fn the_first_agent_runs_as_it_was_written() {
    let model = Model::replying([Reply::text("A garden.")]);
    let world = World::of(&[("local", model.base_url())], "");
    fs::create_dir(world.path("My Garden")).unwrap();
    let document = world.json(0, &["init", "My Garden", "--model", "local/m"]);
    let expected = json!({"file": "My Garden/agent.yaml", "name": "my-garden", "model": "local/m", "missing": null});
    assert_eq!(document, expected);
    assert_eq!(world.said(&["check", "My Garden/agent.yaml"]).0, 0);
    let (code, stdout, stderr) = world.said(&["run", "My Garden/agent.yaml", "What is here?"]);
    assert_eq!((code, stdout.as_str()), (0, "A garden.\n"), "{stderr}");
    let written = fs::read(world.path("My Garden/agent.yaml")).unwrap();
    let (code, _, stderr) = world.said(&["init", "My Garden", "--yes", "--name", "other"]);
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(fs::read(world.path("My Garden/agent.yaml")).unwrap(), written, "what is there is left alone");
    let (code, _, stderr) = world.said(&["init"]);
    assert!(code == 2 && stderr.contains("agentd init --yes"), "nobody can be asked: {stderr}");
}

#[test]
fn the_first_agent_is_asked_about_on_a_terminal() {
    let world = World::new("");
    let mut terminal = Terminal::start(world.command(&["init"]));
    terminal.until("name of the agent [");
    terminal.types("No Good");
    terminal.until("lower-case letters");
    terminal.types("helper-2");
    terminal.until("model (its number, or another) [");
    terminal.types("local/qwen3");
    terminal.until("folder that it may look at [.]:");
    terminal.types("");
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    let written = fs::read_to_string(world.path("agent.yaml")).unwrap();
    assert!(written.contains("name: helper-2\nmodel: \"local/qwen3\""), "{written}");
}

#[test]
fn texts_and_pictures_go_with_a_prompt() {
    let model = Model::replying([Reply::text("Nice."), Reply::text("Still nice.")]);
    let world = World::of(&[("local", model.base_url())], "");
    fs::write(world.path("agent.yaml"), "version: 1\nname: viewer\nmodel: local/m\n").unwrap();
    fs::write(world.path("a.txt"), "some words").unwrap();
    fs::write(world.path("b.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    let (code, _, stderr) = world.said(&["run", "agent.yaml", "Look", "-f", "a.txt", "-f", "b.png"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = world.said(&["resume", "@last", "And now?", "-f", "a.txt"]);
    assert_eq!(code, 0, "{stderr}");
    let requests = model.requests();
    let said = requests.last().unwrap().messages().to_vec();
    let first = said.iter().find(|message| message["role"] == "user").unwrap()["content"].to_string();
    for part in ["Look", "File a.txt:\\n\\nsome words", "data:image/png;base64,iVBORw0KGgo"] {
        assert!(first.contains(part), "{part:?} is missing: {first}");
    }
    let last = said.last().unwrap()["content"].to_string();
    assert!(last.contains("And now?") && last.contains("some words"), "{last}");
    let (code, _, stderr) = world.said(&["run", "agent.yaml", "Look", "-f", "none.txt"]);
    assert!(code == 8 && stderr.contains("none.txt"), "{stderr}");
}

/// What a shell is offered for a line whose last word is being typed.
fn offered(world: &World, line: &[&str]) -> Vec<String> {
    let mut command: Command = world.command(&[]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string());
    command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9").args(["--"]).args(line).arg0("agentd");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The files below a folder, each with its length and when it was written.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        match data.is_dir() {
            true => found.extend(files(&entry.path())),
            false => _ = found.insert(entry.path(), (data.len(), data.modified().unwrap())),
        }
    }
    found
}

#[test]
fn a_shell_is_offered_commands_agents_and_runs() {
    let model = Model::replying([Reply::text("Done.")]);
    let world = World::of(&[("local", model.base_url())], "");
    fs::create_dir_all(world.path("agents")).unwrap();
    fs::write(world.path("agents/tidy.yaml"), "version: 1\nname: tidy\nmodel: local/m\n").unwrap();
    let run = world.json(0, &["run", "tidy", "go"])["run"].as_str().unwrap().to_owned();
    assert!(offered(&world, &["agentd", "resu"]).contains(&"resume".to_owned()));
    assert!(offered(&world, &["agentd", "run", "ti"]).contains(&"tidy".to_owned()));
    assert_eq!(offered(&world, &["agentd", "resume", ""])[..2], ["@last".to_owned(), run.clone()]);
    assert_eq!(offered(&world, &["agentd", "runs", "show", &run[..6]]).first(), Some(&run));
    assert!(offered(&world, &["agentd", "tools", "ls", "ti"]).contains(&"tidy".to_owned()));
    assert_eq!(offered(&world, &["agentd", "stats", "--agent", ""]), ["tidy"]);
    // Whoever completes looks and writes nothing.
    let before = files(&world.path("home"));
    assert_eq!(offered(&world, &["agentd", "cancel", &run[..6]]), [run]);
    assert_eq!(files(&world.path("home")), before);
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, stderr) = world.said(&["completions", shell]);
        assert!(code == 0 && stdout.contains("agentd"), "{stdout}{stderr}");
    }
    assert_eq!(world.said(&["completions", "csh"]).0, 2);
}

#[test]
fn every_command_has_a_page() {
    let world = World::new("");
    let (code, page, stderr) = world.said(&["man", "runs", "show"]);
    assert!(code == 0 && page.contains("Tell the story of one run"), "{page}{stderr}");
    let (code, _, stderr) = world.said(&["man", "--dir", "pages"]);
    assert_eq!(code, 0, "{stderr}");
    for page in ["agentd.1", "agentd-run.1", "agentd-runs-show.1"] {
        assert!(Path::new(&world.path("pages")).join(page).is_file(), "{page} is missing");
    }
    assert_eq!(world.said(&["man", "nothing"]).0, 2);
}
