use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::run::NanoDollars;

fn problems(text: &str) -> String {
    match Document::parse("f.yaml", text) {
        Ok((document, faults)) => match document.finish(Some(()), faults) {
            Ok(()) => panic!("nothing is wrong with {text:?}"),
            Err(problems) => problems.to_string(),
        },
        Err(problems) => problems.to_string(),
    }
}

fn read<T>(text: &str, read: impl FnOnce(&mut Faults, &Node) -> Option<T>) -> Result<T, String> {
    let (document, mut faults) = Document::parse("f.yaml", text).map_err(|problems| problems.to_string())?;
    let value = read(&mut faults, document.root());
    document.finish(value, faults).map_err(|problems| problems.to_string())
}

#[test]
fn what_is_no_good_yaml_is_shown_at_its_place() {
    let texts = [
        "",
        "# only a comment\n",
        "a: 1\n---\nb: 2\n",
        "a: 1\na: 2\nb:\n  c: 1\n  \"c\": 2\n",
        "a: &x {b: 1}\nc: *x\nd: *nowhere\n",
        "<<: {a: 1}\n",
        "? [a, b]\n: 1\n? \n: 2\n",
        "a: !!str 1\nb: !custom\n  c: 1\n",
        "a:\n\t- b\n",
        "a: b: c\n",
        "a: [1, 2\nb: 3\n",
        "a: {b: 1\n",
        "a: [b, , c]\n",
        "a: \"x\n",
        "a: 'it's'\n",
        "%YAML 1.1\n---\na: 1\n",
        "a: b\n c: d\n- e\n",
        "a: \"\\q\"\n",
        "a: 1\u{0}\nb: 2\n",
        "a: \u{1b}[31mred\n",
        "a: 1\rb: 2\r",
        "ü: é: 1\n",
        "\u{feff}a: 1\na: 2\r\n",
        "a: @b\n",
        "a: [x${B}]\n",
        "a: {b: ${C}, c: 1}\n",
        "a: {b: ${C}}\n",
    ];
    let shown: Vec<String> = texts.iter().map(|text| format!("{text:?}\n{}\n", problems(text))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn bombs_are_refused_quickly() {
    let levels: String =
        (1..=9).map(|i| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 9].join(","))).collect();
    let texts = [
        format!("l0: &l0 x\n{levels}"),
        "a: &a\n  <<: *a\n".to_owned(),
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        format!("a: {}", "x".repeat(TEXT_BYTES_MAX)),
        "- &a !t *b\n".repeat(90_000),
        "a: 1\n".repeat(200_000),
        format!("[{}]", "&a x,".repeat(200_000)),
    ];
    for text in texts {
        assert!(problems(&text).len() < 20_000);
    }
}

#[test]
fn a_large_honest_file_is_read() {
    let text: String = (0..40_000).map(|i| format!("key{i}: [a, {{b: {i}}}]\n")).collect();
    let value = read(&text, Faults::json).unwrap();
    assert_eq!(value["key39999"], json!(["a", {"b": 39999}]));
}

#[test]
fn bytes_that_are_no_text_are_shown_at_their_place() {
    let show = |bytes: &[u8]| decode("f.yaml", bytes).map(str::to_owned).map_err(|problems| problems.to_string());
    assert_eq!(show("a: ü\n".as_bytes()), Ok("a: ü\n".to_owned()));
    let told: Vec<_> =
        [&b"a: 1\nb: caf\xe9\n"[..], &b"\xff\xfea\0"[..]].iter().map(|bytes| show(bytes).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn line_ends_and_byte_order_marks_change_nothing() {
    let text = "\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\nc:\r\n  - {d: ~, e: }\r\n";
    assert_eq!(read(text, Faults::json), Ok(json!({"a": 1, "b": "x\ny\n", "c": [{"d": null, "e": null}]})));
}

#[test]
fn scalars_are_what_yaml_1_2_says() {
    let text = "[1, -2, +3, 0, 1.50, -.5, 1e3, 18446744073709551615, true, FALSE, null, ~, yes, no, 'true', '1', 1.2.3, \
                12:30:45, 2026-01-02, 1.10.0, ., '', a b, 0x, 1_a]";
    let value = json!([
        1,
        -2,
        3,
        0,
        1.5,
        -0.5,
        1000.0,
        18446744073709551615u64,
        true,
        false,
        null,
        null,
        "yes",
        "no",
        "true",
        "1",
        "1.2.3",
        "12:30:45",
        "2026-01-02",
        "1.10.0",
        ".",
        "",
        "a b",
        "0x",
        "1_a"
    ]);
    assert_eq!(read(text, Faults::json), Ok(value));
    let odd = "a:\n  - 010\n  - [0x1F, 0o17]\n  - b: 1_000\n    \"c d\": .inf\n  - 1e999\n  - 18446744073709551616\n";
    insta::assert_snapshot!(read(odd, Faults::json).unwrap_err());
}

#[test]
fn values_are_read_or_refused_one_by_one() {
    let text = "\
flags: [true, false, yes, Off, 1, 'true', ~]
whole: [1, 50, 2_000_000, 0, -1, 010, 1e3, 1.5, '7', _1, 99999999999999999999, many]
number: [0, 0.2, 2, 2.5, warm, '1']
duration: [30s, 1h 30m, 7d, '90 seconds', 1.5h, 30, 0s, -5s, 5 years, soon, [1s]]
bytes: [64KiB, 1.5 MB, 4096, 64, 1GiB, big, -1, {a: 1}]
money: [$1.50, $20, $0.000000001, 1.50, $, $1., $1.0000000001, -$1, $1e3]
word: [tell, ask, asl, 'retry', nothing, ~]
text: [a, 1.10, no, 'x', '', ~, [a]]
";
    let result: Result<(), String> = read(text, |faults, root| {
        let fields = faults.fields(root, &["flags", "whole", "number", "duration", "bytes", "money", "word", "text"]);
        let mut told = String::new();
        for key in ["flags", "whole", "number", "duration", "bytes", "money", "word", "text"] {
            let values: Vec<String> = faults
                .list(fields.get(key)?)?
                .iter()
                .map(|node| match key {
                    "flags" => format!("{:?}", faults.flag(node)),
                    "whole" => format!("{:?}", faults.whole(node, 1..=10_000_000)),
                    "number" => format!("{:?}", faults.number(node, 0.0..=2.0)),
                    "duration" => format!("{:?}", faults.duration(node)),
                    "bytes" => format!("{:?}", faults.bytes(node, 1024..=16 << 20)),
                    "money" => format!("{:?}", faults.money(node).map(|NanoDollars(nanos)| nanos)),
                    "word" => format!("{:?}", faults.choice(node, &[("tell", 1), ("ask", 2), ("retry", 3)])),
                    _ => format!("{:?}", faults.text(node)),
                })
                .collect();
            told += &format!("{key}: {}\n", values.join(", "));
        }
        insta::assert_snapshot!("values_read", told);
        None
    });
    insta::assert_snapshot!("values_refused", result.unwrap_err());
}

#[test]
fn keys_and_paths_are_named() {
    let text =
        "limits: {turns: many, tokens: 1}\npolicy:\n  \"a.*\":\n    - x: [1, {y: no}]\n      trns: 1\n      z:\n";
    let told = read(text, |faults, root| -> Option<()> {
        let root = faults.fields(root, &["limits", "policy", "servers"]);
        let limits = faults.fields(root.get("limits")?, &["turns"]);
        faults.whole(limits.get("turns")?, 1..=9);
        let (_, list) = faults.members(root.get("policy")?)?.first()?;
        let first = faults.list(list)?.first()?;
        let item = faults.fields(first, &["x", "turns", "z", "must"]);
        let second = faults.list(item.get("x")?)?.get(1)?;
        let map = faults.fields(second, &["y"]);
        faults.flag(map.get("y")?);
        faults.flag(item.get("z")?);
        faults.required(&item, "must");
        faults.required(&root, "servers");
        None
    });
    insta::assert_snapshot!(told.unwrap_err());
}

#[test]
fn excerpts_hide_what_looks_secret_and_fit_the_screen() {
    let long = format!("{{a: {}, {}}}: x: y\n", "b".repeat(200), "c".repeat(200));
    let texts = [
        "p: {key: \"sk-abcdefghijklmnop\", url: x, url: y, API_TOKEN: ghp_0123456789, k: 1}\n".to_owned(),
        "keyy: sk-abcdefghijklmnop\nkeyy: 1\n".to_owned(),
        "p: {key: \"${LOCAL_KEY_VARIABLE}\", p: 1, p: 2, first_token: 20s}\n".to_owned(),
        "p: {url: \"postgres://me:hunter2@host/db\", url: 1, proxy: http://host/a@b, max_tokens: 5}\n".to_owned(),
        "a: {auth: Bearer abcdefgh, authh: 'it is long', x: y: z}\n".to_owned(),
        long,
        format!("{}a: b: c\n", " ".repeat(300)),
    ];
    let shown: Vec<String> = texts.iter().map(|text| problems(text)).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn lines_of_literal_text_are_lines_of_the_file() {
    let text = "a: |\n\n  one\n  two\n\n    four\nb: >-\n  x\n  y\n";
    let (document, _) = Document::parse("f.yaml", text).unwrap();
    let Content::Map(members) = &document.root().content else { panic!() };
    let (literal, folded) = (&members[0].1, &members[1].1);
    assert_eq!(literal.content, Content::Scalar("\none\ntwo\n\n  four\n".to_owned(), Style::Literal));
    let line = |node: &Node, number| {
        let place = node.line(text, number);
        (place.line, place.col, &text[place.start..place.end])
    };
    assert_eq!([2, 3, 5].map(|number| line(literal, number)), [(3, 3, "one"), (4, 3, "two"), (6, 5, "four")]);
    assert_eq!(line(folded, 2), (8, 3, "x\n  y\n"));
}

#[test]
fn variables_are_looked_up_when_wanted() {
    let env = |name: &str| match name {
        "HOME" => Some("/home/a".to_owned()),
        "EMPTY" => Some(String::new()),
        "KEY_2" => Some("${HOME}$$".to_owned()),
        _ => None,
    };
    let expand = |text: &str| {
        let mut faults = Faults::default();
        let place = Place { line: 1, col: 1, start: 0, end: 0 };
        match Written::new(text, place, &mut faults) {
            Some(written) => written.expand(&env).map(|expanded| expanded.expose().to_owned()),
            None => Err(faults.into_problems(&"f".into(), text, None).iter().map(|p| p.message.clone()).collect()),
        }
    };
    let ok = |value: &str| Ok(value.to_owned());
    assert_eq!(expand(""), ok(""));
    assert_eq!(expand("${HOME}/x${EMPTY}"), ok("/home/a/x"));
    assert_eq!(expand("$HOME $1.50 pa$$word $"), ok("$HOME $1.50 pa$$word $"));
    assert_eq!(expand("a$${HOME}${HOME}$${"), ok("a${HOME}/home/a${"));
    assert_eq!(expand("${KEY_2}"), ok("${HOME}$$"));
    let told: Vec<_> =
        ["${NOPE}", "x${", "${}", "${A:-b}", "${1A}", "${A B}"].iter().map(|text| expand(text).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn looked_up_values_are_not_shown() {
    let (mut document, mut faults) =
        Document::parse("f.yaml", "a: ${SECRET}\nb: ${NOPE}\nc: [\"x${SECRET}\"]\n").unwrap();
    document.expand(&|name| (name == "SECRET").then(|| "hunter2hunter2".to_owned()), &mut faults);
    let fields = faults.fields(document.root(), &["a", "b", "c"]);
    assert_eq!(faults.text(fields.get("a").unwrap()), Some("hunter2hunter2"));
    faults.flag(fields.get("a").unwrap());
    let list = faults.list(fields.get("c").unwrap()).unwrap();
    faults.choice(&list[0], &[("hunter", ())]);
    let told = document.finish(Some(()), faults).unwrap_err().to_string();
    assert!(!told.contains("hunter2"), "{told}");
    insta::assert_snapshot!(told);

    let place = Place { line: 1, col: 1, start: 0, end: 0 };
    let written = Written::new("x ${A}", place, &mut Faults::default()).unwrap();
    let expanded = written.expand(&|_| Some("hunter2".to_owned())).unwrap();
    assert_eq!(format!("{expanded} {expanded:?}"), "x ${A} \"x ${A}\"");
}

proptest! {
    #[test]
    fn reading_never_panics(text in r#"([\[\]{}",:&*!|>#?@%'\\a0\-~ \n\t]|<<: |\r\n|---\n|é|\PC){0,60}"#) {
        if let Ok((document, mut faults)) = Document::parse("f.yaml", &text) {
            let value = faults.json(document.root());
            faults.fields(document.root(), &["a", "0"]);
            let _ = document.root().line(&text, 3);
            if let Err(problems) = document.finish(value, faults) {
                prop_assert!(!problems.to_string().is_empty());
            }
        }
    }

    /// JSON is YAML: what JSON says is what is read.
    #[test]
    fn json_is_read_as_json(keys in prop::collection::hash_set("[a-z]{1,6}", 0..6), text in "\\PC*", number: i64, pretty: bool) {
        let value = json!({"keys": keys.into_iter().map(|key| (key, json!([text, number]))).collect::<serde_json::Map<_, _>>()});
        let written = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        prop_assert_eq!(read(&written, Faults::json), Ok(value));
    }
}
