//! What a turn costs in commits.

use std::fs;

use agentd::{
    daemon::{Daemon, New, Overrides, settings::Settings},
    engine::{Left, Options, Stop},
};
use tokio::sync::watch;

#[tokio::test]
async fn a_turn_awaits_one_commit_per_admitted_group() {
    let dir = tempfile::tempdir().unwrap();
    let script = "version: 1
answers:
  - calls: [{name: files__list, arguments: {path: .}}, {name: files__list, arguments: {path: ., depth: 2}}]   # one group
  - calls:                                                                                                    # two groups
      - {name: files__write, arguments: {path: a.txt, content: a}}
      - {name: files__read, arguments: {path: a.txt}}
  - calls: [{name: files__read, arguments: {}}]                                                                # none: refused
  - text: done
";
    let agent = "version: 1
name: counted
model: demo/any
servers: {files: {builtin: files, root: .}}
policy: {files.write: {approve: allow}}
";
    fs::write(dir.path().join("script.yaml"), script).unwrap();
    let text = "version: 1\nproviders: {demo: {dialect: scripted, script: script.yaml}}\n";
    let settings = Settings::parse("agentd.yaml", text, dir.path(), &|_| None).unwrap();
    let daemon = Daemon::open(&settings, &dir.path().join("home"), None).unwrap();
    let new = New {
        file: "agent.yaml".to_owned(),
        definition: agent.into(),
        dir: dir.path().to_owned(),
        prompt: Some("go".to_owned()),
        attached: Vec::new(),
        input: None,
        model: None,
        limits: Overrides::default(),
        allow: Vec::new(),
        key: None,
    };
    let mut driven = daemon.start(new).await.unwrap();
    let (_stop, stopped) = watch::channel(Stop::No);
    let left = driven.drive(Options::default(), stopped, &mut |_| {}).await.unwrap();
    assert_eq!(left, Left::Ended);
    assert_eq!(driven.run().turn(), 4 - 1, "the refused answer is asked again in its turn");
    // Three groups and the end. The refused answer waits for nothing: nobody was told of it.
    assert_eq!(driven.commits(), 4);
}
