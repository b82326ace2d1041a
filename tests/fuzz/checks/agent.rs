//! An agent file, as bytes.

use agentd::{agent::Agent, chat::glob, yaml::decode};

use super::tools;

const FILE: &str = "agent.yaml";

/// Checks what is read from an agent file.
pub fn check(bytes: &[u8]) {
    let problems = match decode(FILE, bytes).and_then(|text| Ok((text, Agent::parse(FILE, text)?))) {
        Err(problems) => problems,
        Ok((text, agent)) => {
            assert_eq!(&**agent.definition(), text, "what is journaled is the file as written");
            for tool in tools().tools().iter() {
                agent.policy_for(&tool.origin);
                agent.repairs_for(tool);
                assert!(glob("*", tool.name.as_str()));
            }
            let again = Agent::parse(FILE, agent.definition()).unwrap_or_else(|why| panic!("{why} the second time"));
            assert_eq!(format!("{agent:?}"), format!("{again:?}"));
            return;
        }
    };
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split(['\n', '\r']).count();
    assert!(problems.iter().count() > 0, "refused without a reason: {text:?}");
    for problem in problems.iter() {
        assert!(!problem.message.is_empty(), "{problem:?}");
        assert!((1..=lines as u32 + 1).contains(&problem.line) && problem.col >= 1, "{problem:?} in {text:?}");
        assert!(problem.excerpt.len() <= 2048, "{problem:?}");
    }
    assert!(!problems.to_string().is_empty());
}
