//! Writes into the text of an agent file that a tool needs no approval.
//!
//! The text changes in one place and nothing else of it moves: comments, order and layout stay. We insert by the places
//! that our parser knows rather than through a library with a syntax tree of its own, because we then read the result
//! with that same parser and compare the trees: what differs from the old one in anything but the word that was meant is
//! not given out.

use crate::{
    chat::ToolName,
    yaml::{Content, Document, Key, Node, Place, Style},
};

use super::{Agent, Approval};

/// A file that cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", .pattern.as_ref().map(|pattern| line(pattern)).unwrap_or_default())]
pub struct Unwritable {
    /// Why.
    pub reason: String,
    /// The tool, as `policy` names it; `None` when no pattern means this tool alone.
    pub pattern: Option<String>,
}

/// What a person can write by hand.
fn line(pattern: &str) -> String {
    format!(". To allow the tool, this is to stand in the file:\n  policy:\n    {pattern:?}: {{approve: allow}}")
}

impl Agent {
    /// The text of an agent file, changed so that calls of `tool` run without asking.
    ///
    /// # Errors
    /// When the file is not as it should be, refuses the tool elsewhere, or has a layout that cannot be changed safely.
    pub fn allowing(file: &str, text: &str, tool: &ToolName) -> Result<String, Unwritable> {
        let pattern = tool.to_string();
        let refuse = |reason: &str| Unwritable { reason: reason.to_owned(), pattern: Some(pattern.clone()) };
        if !pattern.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':')) {
            // A line with this name would speak of other tools too, or of none.
            let reason = "the tool's name has characters that mean something else in a pattern, so no rule of the file can \
                          name it alone; it can be allowed once, or for this run";
            return Err(Unwritable { reason: reason.to_owned(), pattern: None });
        }
        let agent =
            Agent::parse(file, text).map_err(|problems| refuse(&format!("the file has faults:\n{problems}")))?;
        if agent.rules.iter().any(|rule| rule.pattern == pattern && rule.when.is_some()) {
            return Err(refuse("the file has a rule with a condition for this tool"));
        }
        let before = root(file, text).ok_or_else(|| refuse("the file cannot be read"))?;
        let (at, insertion) = insertion(text, &before, &pattern).map_err(refuse)?;
        let changed = [&text[..at.start], &insertion, &text[at.end..]].concat();
        let mut meant = before;
        set(&mut meant, &["policy", &pattern, "approve"], "allow").map_err(refuse)?;
        let odd = "the layout of the file is one that cannot be changed safely";
        let after = root(file, &changed).filter(|after| same(after, &meant)).ok_or_else(|| refuse(odd))?;
        drop(after);
        let agent = Agent::parse(file, &changed).map_err(|_| refuse(odd))?;
        match agent.policy_for(tool).approve {
            Some(Approval::Allow) => Ok(changed),
            _ => Err(refuse("another rule of the file refuses this tool")),
        }
    }
}

fn root(file: &str, text: &str) -> Option<Node> {
    Document::parse(file, text).ok().map(|(document, _)| document.root().clone())
}

/// What is to be put where.
fn insertion(text: &str, root: &Node, pattern: &str) -> Result<(Place, String), &'static str> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let word = if json { "\"approve\": \"allow\"" } else { "approve: allow" };
    let rule = format!("\"{pattern}\": {{{word}}}");
    let Some((key, policy)) = member(root, "policy")? else {
        if is_flow(text, root) {
            return Ok(into_flow(root, &format!("\"policy\": {{{rule}}}")));
        }
        let last = Place { start: text.len(), end: text.len(), ..root.place };
        let start = if text.ends_with('\n') { "" } else { end };
        let indent = " ".repeat(column(root));
        return Ok((last, format!("{start}{indent}policy:{end}{indent}  {rule}{end}")));
    };
    let Some((key, found)) = member(policy, pattern)? else {
        if is_flow(text, policy) {
            return Ok(into_flow(policy, &rule));
        }
        return Ok(below(text, key.place, &format!("{end}{}{rule}", " ".repeat(column(policy)))));
    };
    match member(found, "approve")? {
        Some((_, said)) => Ok((said.place, if json { "\"allow\"" } else { "allow" }.to_owned())),
        None if is_flow(text, found) => Ok(into_flow(found, word)),
        None => Ok(below(text, key.place, &format!("{end}{}{word}", " ".repeat(column(found))))),
    }
}

/// The member of a map; `None` when it has none of that name.
fn member<'n>(node: &'n Node, name: &str) -> Result<Option<&'n (Key, Node)>, &'static str> {
    match &node.content {
        Content::Map(members) => Ok(members.iter().find(|(key, _)| key.text == name)),
        _ => Err("the file has something else where a map should be"),
    }
}

/// Whether a map stands in braces.
fn is_flow(text: &str, node: &Node) -> bool {
    text[node.place.start..].starts_with('{')
}

/// Behind the opening brace of a map.
fn into_flow(node: &Node, entry: &str) -> (Place, String) {
    let empty = matches!(&node.content, Content::Map(members) if members.is_empty());
    let at = node.place.start + 1;
    (Place { start: at, end: at, ..node.place }, format!("{entry}{}", if empty { "" } else { ", " }))
}

/// Behind the line of a key.
fn below(text: &str, key: Place, lines: &str) -> (Place, String) {
    let rest = &text[key.end..];
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
    let at = key.end + line.trim_end_matches('\r').len();
    (Place { start: at, end: at, ..key }, lines.to_owned())
}

/// How far the keys of a block are indented.
fn column(node: &Node) -> usize {
    match &node.content {
        Content::Map(members) => members.first().map_or(0, |(key, _)| key.place.col as usize - 1),
        _ => 0,
    }
}

/// Sets the value behind a path of keys, and makes the maps on the way.
fn set(node: &mut Node, path: &[&str], word: &str) -> Result<(), &'static str> {
    let Some((first, rest)) = path.split_first() else {
        node.content = Content::Scalar(word.to_owned(), Style::Plain);
        return Ok(());
    };
    let place = node.place;
    let Content::Map(members) = &mut node.content else {
        return Err("the file has something else where a map should be");
    };
    if !members.iter().any(|(key, _)| key.text == *first) {
        let empty = Node { place, content: Content::Map(Vec::new()) };
        members.push((Key { place, text: (*first).to_owned() }, empty));
    }
    match members.iter_mut().find(|(key, _)| key.text == *first) {
        Some((_, found)) => set(found, rest, word),
        None => Ok(()),
    }
}

/// Whether two trees say the same, wherever it stands and in whatever order maps have their keys.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.content, &b.content) {
        (Content::List(a), Content::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Content::Map(a), Content::Map(b)) => {
            let has =
                |(key, node): &(Key, Node)| b.iter().any(|(other, found)| other.text == key.text && same(node, found));
            a.len() == b.len() && a.iter().all(has)
        }
        (Content::Scalar(a, of), Content::Scalar(b, other)) => {
            let word = |style: &Style| matches!(style, Style::Plain | Style::Quoted);
            a == b && (of == other || a == "allow" && word(of) && word(other))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "version: 1\nname: a\nmodel: demo/any\nservers: {files: {command: x}}  # ours\n";

    fn allow(text: &str) -> Result<String, String> {
        let tool = ToolName { server: "files".to_owned(), tool: "write".to_owned() };
        Agent::allowing("a.yaml", text, &tool).map_err(|unwritable| unwritable.to_string())
    }

    #[test]
    fn a_rule_is_written_where_it_belongs_and_nothing_else_moves() {
        for (before, after) in [
            ("", "policy:\n  \"files.write\": {approve: allow}\n"),
            ("# the end", "# the end\npolicy:\n  \"files.write\": {approve: allow}\n"),
            ("policy: {}\n", "policy: {\"files.write\": {approve: allow}}\n"),
            (
                "policy: {\"files.*\": {approve: ask}}\n",
                "policy: {\"files.write\": {approve: allow}, \"files.*\": {approve: ask}}\n",
            ),
            (
                "policy:   # rules\n    # the others\n    files.*: {approve: ask}   # careful\n",
                "policy:   # rules\n    \"files.write\": {approve: allow}\n    # the others\n    files.*: {approve: ask}   # careful\n",
            ),
            (
                "policy:\n  files.write: {approve: ask, timeout: 3s}  # why\n",
                "policy:\n  files.write: {approve: allow, timeout: 3s}  # why\n",
            ),
            ("policy:\n  files.write: {timeout: 3s}\n", "policy:\n  files.write: {approve: allow, timeout: 3s}\n"),
            (
                "policy:\n  'files.write':\n      # slow\n      timeout: 3s\n      on_doubt: ask\n",
                "policy:\n  'files.write':\n      approve: allow\n      # slow\n      timeout: 3s\n      on_doubt: ask\n",
            ),
            (
                "policy:\n  files.write:\n    timeout: 3s\n    approve: \"ask\" # why\nlimits: {turns: 3}\n",
                "policy:\n  files.write:\n    timeout: 3s\n    approve: allow # why\nlimits: {turns: 3}\n",
            ),
            (
                "instructions: |\n  Do it.\n\n  # no comment\n",
                "instructions: |\n  Do it.\n\n  # no comment\npolicy:\n  \"files.write\": {approve: allow}\n",
            ),
            (
                "policy:\r\n  files.*: {approve: ask}\r\n",
                "policy:\r\n  \"files.write\": {approve: allow}\r\n  files.*: {approve: ask}\r\n",
            ),
        ] {
            assert_eq!(allow(&format!("{HEAD}{before}")).as_deref(), Ok(&*format!("{HEAD}{after}")), "{before}");
        }
    }

    #[test]
    fn json_stays_json() {
        let file = |policy: &str| {
            format!(
                "{{{policy}\"version\": 1, \"name\": \"a\",\n \"model\": \"demo/any\", \"servers\": {{\"files\": {{\"command\": \"x\"}}}}}}\n"
            )
        };
        let after = allow(&file("")).unwrap();
        assert_eq!(after, file("\"policy\": {\"files.write\": {\"approve\": \"allow\"}}, "));
        serde_json::from_str::<serde_json::Value>(&after).unwrap();
        let after = allow(&file("\"policy\": {\"files.write\": {\"approve\": \"ask\"}},")).unwrap();
        assert_eq!(after, file("\"policy\": {\"files.write\": {\"approve\": \"allow\"}},"));
    }

    #[test]
    fn twice_is_once() {
        let once = allow(HEAD).unwrap();
        assert_eq!(allow(&once), Ok(once));
    }

    #[test]
    fn what_cannot_be_changed_is_refused_with_the_line_to_add() {
        for (rest, why) in [
            ("policy:\n  \"*.write\": {approve: deny}\n", "another rule of the file refuses this tool"),
            ("policy:\n  files.write: {approve: ask, when: args.x}\n", "a rule with a condition"),
            ("modle: x\n", "the file has faults"),
            ("...\n", "cannot be changed safely"),
        ] {
            let told = allow(&format!("{HEAD}{rest}")).unwrap_err();
            let line = "policy:\n    \"files.write\": {approve: allow}";
            assert!(told.contains(why) && told.ends_with(line), "{rest:?}: {told}");
        }
        for name in ["wr*te", "*", "w?ite", "[a]", "a b"] {
            let odd = ToolName { server: "files".to_owned(), tool: name.to_owned() };
            let told = Agent::allowing("a.yaml", HEAD, &odd).unwrap_err().to_string();
            assert!(
                told.contains("no rule of the file can name it alone") && !told.contains("approve: allow"),
                "{told}"
            );
        }
    }
}
