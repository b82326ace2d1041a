//! Finds out which keyword of a tool's schema, or which tool, a refused request is blamed on.
//!
//! A pure function of the message and of the tools that were sent. It only ever names what is in those tools, so that leaving
//! it out changes the request. The forms of the messages are those of OpenAI, Anthropic, Gemini, Kimi, llama.cpp, vLLM and
//! servers that answer with a path (issue threads, 2026-11).

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::schema;
use crate::chat::ToolDef;

/// What a refusal blames.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blame {
    /// Keywords of schemas that can be left out.
    pub keywords: BTreeSet<String>,
    /// The tool that is named, or whose place in the request is; `None` when no single one is.
    pub tool: Option<String>,
}

/// Keywords whose names are ordinary words: only quoted, or as a step of a path, they mean the keyword.
const WORDS: &[&str] = &[
    "contains",
    "const",
    "default",
    "dependencies",
    "deprecated",
    "else",
    "example",
    "examples",
    "if",
    "maximum",
    "minimum",
    "not",
    "required",
    "then",
    "title",
];

/// What messages call the keywords, beside their names.
const OTHER_NAMES: &[(&[&str], &[&str])] = &[
    (
        &[
            "regex",
            "regexp",
            "regular expression",
            "lookaround",
            "look-around",
            "lookahead",
            "lookbehind",
            "backreference",
        ],
        &["pattern", "patternProperties"],
    ),
    (&["unsupported ref", "reference", "recursive", "recursion", "circular", "cyclic"], &["$ref"]),
    // Of a server that holds the model to the schema while it writes (llama.cpp, xgrammar): what its grammar cannot say.
    (
        &["grammar", "repetition"],
        &["pattern", "patternProperties", "format", "minLength", "maxLength", "minItems", "maxItems"],
    ),
    (&["union"], &["anyOf", "oneOf"]),
];

/// Words without which a message is not about a tool or its schema.
const ABOUT: &[&str] =
    &["schema", "tool", "function", "parameter", "grammar", "regex", "pattern", "keyword", "$ref", "ref:", "propert"];

/// What this message, of a request that was refused, blames among these tools.
pub fn blame(message: &str, tools: &[ToolDef]) -> Blame {
    let lower = message.to_lowercase();
    if !ABOUT.iter().any(|word| lower.contains(word)) {
        return Blame::default();
    }
    let tool = named(message, tools).or_else(|| placed(&lower, tools));
    let sound: Vec<Cow<'_, Value>> = match tool {
        Some(tool) => vec![schema::sound(&tool.input_schema, true)],
        None => tools.iter().map(|tool| schema::sound(&tool.input_schema, true)).collect(),
    };
    let mut present = BTreeSet::new();
    sound.iter().for_each(|schema| schema::keywords(schema, &mut present));
    let by_other_names: BTreeSet<&str> = OTHER_NAMES
        .iter()
        .filter(|(names, _)| names.iter().any(|name| is_word(&lower, name)))
        .flat_map(|(_, keywords)| keywords.iter().copied())
        .collect();
    let is_named = |keyword: &str| {
        let plain = keyword.to_lowercase();
        let snake: String = keyword.chars().fold(String::new(), |mut snake, character| {
            if character.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(character.to_ascii_lowercase());
            snake
        });
        by_other_names.contains(keyword)
            || if WORDS.contains(&keyword) {
                is_quoted(&lower, &plain)
            } else {
                is_word(&lower, &plain) || snake != plain && is_word(&lower, &snake)
            }
    };
    let keywords = present.into_iter().filter(|keyword| is_named(keyword)).map(str::to_owned).collect();
    Blame { keywords, tool: tool.map(|tool| tool.name.as_str().to_owned()) }
}

/// The tool as it is sent where these keywords are left out.
pub fn without_keywords(tool: &ToolDef, keywords: &BTreeSet<String>) -> ToolDef {
    let words: Vec<&str> = keywords.iter().map(String::as_str).collect();
    let input_schema = Arc::new(schema::without(&tool.input_schema, &words));
    // Another definition than the one that the hash names.
    ToolDef { input_schema, hash: format!("{} without {}", tool.hash, words.join(" ")).into(), ..tool.clone() }
}

/// The one tool whose name stands in the message.
fn named<'t>(message: &str, tools: &'t [ToolDef]) -> Option<&'t ToolDef> {
    let mut named = tools.iter().filter(|tool| {
        let name = tool.name.as_str();
        // A short name can be an ordinary word.
        if name.len() > 6 && name.contains(['_', '-']) { is_word(message, name) } else { is_quoted(message, name) }
    });
    named.next().filter(|_| named.next().is_none())
}

/// The tool whose place stands in the message: `tools[3]`, `tools.3.`, `function_declarations[3]`.
fn placed<'t>(lower: &str, tools: &'t [ToolDef]) -> Option<&'t ToolDef> {
    // Gemini has one tool, and the functions below it.
    ["function_declarations", "functiondeclarations", "tools", "functions"].iter().find_map(|list| {
        lower.match_indices(list).find_map(|(at, _)| {
            let rest = lower[at + list.len()..].trim_start_matches(['[', '.', '/', ' ', ',', '\'', '"']);
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            // A number that stands right behind the list, as its index.
            tools.get(rest[..digits].parse::<usize>().ok()?)
        })
    })
}

/// Whether a word stands in a text by itself.
fn is_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    text.match_indices(word).any(|(at, _)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

/// Whether a word stands in a text between quotes, or as a step of a path.
fn is_quoted(text: &str, word: &str) -> bool {
    const MARKS: &[char] = &['\'', '"', '`', '‘', '’', '“', '”'];
    text.match_indices(word).any(|(at, _)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        let ends = |c: Option<char>| {
            c.is_none_or(|c| MARKS.contains(&c) || matches!(c, '.' | '/' | '[' | ']' | ' ' | ',' | ':' | ')'))
        };
        match before {
            Some(mark) if MARKS.contains(&mark) => behind.is_some_and(|behind| MARKS.contains(&behind)),
            Some('.' | '/' | '[') => ends(behind),
            _ => text[..at].ends_with("keyword ") && ends(behind),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<ToolDef> {
        let send = json!({"type": "object", "properties": {
            "to": {"type": "string", "pattern": "^a+$", "format": "email"},
            "kind": {"type": ["string", "null"], "enum": ["a", null], "default": "a"},
            "of": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/of"}]},
        }, "required": ["to"], "$defs": {"of": {"type": "object", "additionalProperties": false, "minProperties": 1}}});
        let note =
            json!({"type": "object", "properties": {"text": {"type": "string", "maxLength": 9, "not": {"const": ""}}}});
        vec![ToolDef::new("mail__send_mail", "", send), ToolDef::new("note", "", note)]
    }

    #[test]
    fn a_refusal_names_what_is_in_the_tools() {
        let table: &[(&str, &[&str], Option<&str>)] = &[
            (
                "HTTP 400: Invalid schema for function 'mail__send_mail': In context=('properties', 'of'), 'anyOf' is not permitted.",
                &["anyOf"],
                Some("mail__send_mail"),
            ),
            ("HTTP 400: Invalid schema for function 'note': schema must have a 'type' key.", &[], Some("note")),
            ("HTTP 400: Invalid JSON schema: regex lookaround is not supported (at tools)", &["pattern"], None),
            (
                "HTTP 400: tools.1.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12",
                &[],
                Some("note"),
            ),
            (
                "HTTP 400: tools.0.custom.input_schema.properties: Property keys should match pattern '^[a-z]$'",
                &["pattern"],
                Some("mail__send_mail"),
            ),
            (
                "HTTP 400: Unable to generate parser for this template. Automatic parser generation failed: JSON schema conversion failed: Pattern must start with '^' and end with '$'",
                &["pattern"],
                None,
            ),
            (
                "HTTP 400: Failed to initialize samplers: failed to parse grammar",
                &["format", "maxLength", "pattern"],
                None,
            ),
            ("HTTP 400: JSON schema conversion failed: Unsupported ref: #", &["$ref"], None),
            (
                "HTTP 400: Invalid JSON payload received. Unknown name \"additional_properties\" at 'tools[0].function_declarations[0].parameters'",
                &["additionalProperties"],
                Some("mail__send_mail"),
            ),
            (
                "HTTP 400: GenerateContentRequest.tools[0].function_declarations[1].parameters.properties[text].not: unsupported",
                &["not"],
                Some("note"),
            ),
            (
                "HTTP 400: tools.function.parameters is not a valid moonshot flavored json schema, details: <At path 'properties.kind.enum': enum value (<nil>) does not match any type in [string]>",
                &["enum"],
                None,
            ),
            ("HTTP 400: Keyword 'format' is not supported in tool schemas", &["format"], None),
            ("HTTP 400: recursive schemas are not supported", &["$ref"], None),
            // Words that only look like keywords, and messages about something else.
            ("HTTP 400: the tool parameters are not valid if required is missing", &[], None),
            ("HTTP 400: tool_choice is not supported", &[], None),
            ("HTTP 400: temperature must not exceed 2, the default", &[], None),
            ("HTTP 400: please note that this tool schema is wrong", &[], None),
        ];
        for (message, keywords, tool) in table {
            let blame = blame(message, &tools());
            let found: Vec<&str> = blame.keywords.iter().map(String::as_str).collect();
            assert_eq!((found.as_slice(), blame.tool.as_deref()), (*keywords, *tool), "{message}");
        }
    }

    #[test]
    fn what_is_left_out_makes_a_schema_wider() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let [send, note] = &tools()[..] else { panic!() };
        let schema =
            |tool: &ToolDef, keywords: &[&str]| (*without_keywords(tool, &words(keywords)).input_schema).clone();
        assert_eq!(
            schema(note, &["maxLength", "not"]),
            json!({"type": "object", "properties": {"text": {"type": "string"}}})
        );
        let plain = schema(send, &["$ref", "pattern"]);
        assert!(!plain.to_string().contains("$ref") && !plain.to_string().contains("pattern"), "{plain}");
        assert_eq!(plain["properties"]["of"]["anyOf"][1]["type"], "object");
        assert_eq!(plain["required"], json!(["to"]));
        // A property that is called as a keyword is none.
        let odd = ToolDef::new(
            "t",
            "",
            json!({"type": "object", "properties": {"pattern": {"type": "string", "pattern": "a"}}}),
        );
        assert_eq!(
            schema(&odd, &["pattern"]),
            json!({"type": "object", "properties": {"pattern": {"type": "string"}}})
        );
        let closed =
            json!({"type": "object", "properties": {}, "patternProperties": {"^x": {}}, "additionalProperties": false});
        assert_eq!(
            schema(&ToolDef::new("t", "", closed), &["patternProperties"]),
            json!({"type": "object", "properties": {}})
        );
    }
}
