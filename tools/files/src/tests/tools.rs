//! What each tool gives, what bounds it, and what it says when it cannot.

use std::fmt::Write;

use super::*;

const NOTES: &[(&str, &str)] = &[
    ("notes/bread.md", "# Bread\n\nFlour, water, salt.\n"),
    ("notes/old/soup.md", "# Soup\n\nWater and salt.\n"),
    ("index.txt", "bread\nsoup\n"),
];

#[tokio::test]
async fn list_shows_a_folder_and_what_is_below() {
    let world = World::new(NOTES).await;
    let reply = world.call("list", json!({"depth": 3})).await;
    let text = "index.txt (11 bytes)\nnotes/\nnotes/bread.md (29 bytes)\nnotes/old/\nnotes/old/soup.md (24 bytes)";
    assert_eq!(reply.texts, [text]);
    let flat = world.ok("list", json!({"path": "notes/"})).await;
    let entries =
        json!([{"path": "notes/bread.md", "kind": "file", "bytes": 29}, {"path": "notes/old", "kind": "folder"}]);
    assert_eq!(flat, json!({"entries": entries, "total": 2}));
    fs::create_dir(world.root().join("empty")).unwrap();
    assert_eq!(world.call("list", json!({"path": "empty"})).await.texts, ["[the folder is empty]"]);
}

/// Page by page, a list shows every entry once.
#[tokio::test]
async fn list_goes_on_where_it_stopped() {
    let names: Vec<String> = (0..57).map(|n| format!("{n:02}.md")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let world = World::new(&files).await;
    let (mut seen, mut offset) = (Vec::new(), Some(1));
    while let Some(first) = offset {
        let page = world.ok("list", json!({"offset": first, "limit": 20})).await;
        assert_eq!(page["total"], 57);
        seen.extend(page["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap().to_owned()));
        offset = page["next_offset"].as_u64();
    }
    assert_eq!(seen, names);
    let text = world.call("list", json!({"limit": 1})).await.texts.remove(0);
    assert_eq!(text, "00.md (0 bytes)\n[1 of 57 entries; go on with offset 2]");
}

#[tokio::test]
async fn read_gives_the_text_as_it_is() {
    let text = "\u{feff}no end of line at the end\r\n\tgrüße \u{1f35e}";
    let world = World::new(&[("a.md", text), ("empty.md", "")]).await;
    assert_eq!(world.call("read", json!({"path": "a.md"})).await.texts, [text]);
    assert_eq!(world.call("read", json!({"path": "empty.md"})).await.texts, ["", "[the file is empty]"]);
    assert_eq!(
        world.call("read", json!({"path": "a.md", "offset": 2})).await.texts,
        ["\tgrüße \u{1f35e}", "[lines 2 to 2, the last]"]
    );
}

/// Page by page, whatever the limit, the parts of a file are the file.
#[tokio::test]
async fn read_goes_on_where_it_stopped() {
    let mut text = String::new();
    for line in 1..=3_000 {
        writeln!(text, "line {line} {}", "ü".repeat(line % 40)).unwrap();
    }
    let world = World::new(&[("long.txt", &text)]).await;
    for limit in [7_000, 1_000, 999] {
        let (mut seen, mut offset, mut pages) = (String::new(), 1, 0);
        loop {
            let mut reply = world.call("read", json!({"path": "long.txt", "offset": offset, "limit": limit})).await;
            assert!(reply.texts[0].len() <= crate::TEXT_BYTES_MAX);
            seen += &reply.texts[0];
            pages += 1;
            let note = reply.texts.remove(1);
            let Some((_, next)) = note.split_once("go on with offset ") else { break };
            offset = next.trim_end_matches(']').parse().unwrap();
        }
        assert!(seen == text && pages >= 3, "limit {limit}, {pages} pages");
    }
}

/// A line that does not fit is cut between characters, and the next line can be reached.
#[tokio::test]
async fn read_cuts_a_line_that_is_too_long() {
    let text = format!("first\nx{}\nlast\n", "ü".repeat(crate::TEXT_BYTES_MAX));
    let world = World::new(&[("wide.txt", &text)]).await;
    let read = |offset: u32| world.call("read", json!({"path": "wide.txt", "offset": offset}));
    assert_eq!(read(1).await.texts, ["first\n", "[lines 1 to 1; more follow: go on with offset 2]"]);
    let wide = read(2).await.texts;
    assert_eq!(wide[0], format!("x{}", "ü".repeat(crate::TEXT_BYTES_MAX / 2 - 1)));
    let note = "[only the beginning of line 2, which is longer than 49152 bytes: \
                find text in the rest with search; the next line has offset 3]";
    assert_eq!(wide[1], note);
    assert_eq!(read(3).await.texts, ["last\n", "[lines 3 to 3, the last]"]);
}

/// A line or file that fills the room to the byte is whole, and says so.
#[tokio::test]
async fn read_takes_what_just_fits() {
    let most = crate::TEXT_BYTES_MAX;
    let (closed, open) = (format!("{}\n", "x".repeat(most - 1)), "x".repeat(most));
    let more = format!("{closed}y\n");
    let world = World::new(&[("closed", &closed), ("open", &open), ("more", &more)]).await;
    assert!(world.call("read", json!({"path": "closed"})).await.texts == [closed.as_str()]);
    assert!(world.call("read", json!({"path": "open"})).await.texts == [open.as_str()]);
    let texts = world.call("read", json!({"path": "more"})).await.texts;
    assert!(texts == [closed.as_str(), "[lines 1 to 1; more follow: go on with offset 2]"], "{}", texts[1]);
}

#[tokio::test]
async fn search_finds_text_and_patterns() {
    let world = World::new(NOTES).await;
    let reply = world.call("search", json!({"pattern": "salt."})).await;
    let text =
        "notes/bread.md:3: Flour, water, salt.\nnotes/old/soup.md:3: Water and salt.\n[hits: 2; files searched: 3]";
    assert_eq!(reply.texts, [text]);
    let found = async |arguments| {
        let found = world.ok("search", arguments).await;
        let hits = found["hits"].as_array().unwrap().iter();
        hits.map(|hit| format!("{}:{}", hit["path"].as_str().unwrap(), hit["line"])).collect::<Vec<_>>()
    };
    assert_eq!(found(json!({"pattern": "water"})).await, ["notes/bread.md:3"]);
    let both = ["notes/bread.md:3", "notes/old/soup.md:3"];
    assert_eq!(found(json!({"pattern": "water", "ignore_case": true})).await, both);
    let headings = ["notes/bread.md:1", "notes/old/soup.md:1"];
    assert_eq!(found(json!({"pattern": "^# \\w+$", "regex": true})).await, headings);
    assert_eq!(found(json!({"pattern": "^# "})).await, [""; 0]);
    assert_eq!(found(json!({"pattern": "soup", "path": "index.txt"})).await, ["index.txt:2"]);
    assert_eq!(found(json!({"pattern": "salt", "path": "notes/old"})).await, ["notes/old/soup.md:3"]);
    for (glob, files) in
        [("*.md", &both[..]), ("notes/*.md", &both[..1]), ("**/old/*", &both[1..]), ("*.{txt,rs}", &[])]
    {
        assert_eq!(found(json!({"pattern": "salt", "glob": glob})).await, files, "{glob}");
    }
    assert_eq!(found(json!({"pattern": "salt", "path": "notes", "glob": "old/*.md"})).await, both[1..]);
}

#[tokio::test]
async fn search_is_bounded_and_says_so() {
    let many = "needle\n".repeat(600);
    let wide = format!("{}needle{}\n", "ü".repeat(5_000), "ö".repeat(5_000));
    let world = World::new(&[("many.txt", &many), ("wide.txt", &wide), (".git/many.txt", &many)]).await;
    fs::write(world.root().join("image.png"), b"needle \xff\xfe").unwrap();
    fs::write(world.root().join("zeros.bin"), b"needle \0").unwrap();

    let found = world.ok("search", json!({"pattern": "needle", "limit": 10})).await;
    assert_eq!(found["hits"].as_array().unwrap().len(), 10);
    let more = "there are more hits than these: narrow the search by path, glob or pattern";
    assert!(found["incomplete"].as_str().unwrap().starts_with(more), "{found}");

    let found = world.ok("search", json!({"pattern": "needle", "glob": "wide.*"})).await;
    let text = found["hits"][0]["text"].as_str().unwrap();
    assert!(text.contains("needle") && text.len() <= 310 && text.starts_with("…ü") && text.ends_with("ö…"), "{text}");

    let found = world.ok("search", json!({"pattern": "nothing"})).await;
    let incomplete = "2 files are not text, too large or not readable";
    assert_eq!(found, json!({"hits": [], "files": 2, "incomplete": incomplete}));
}

/// No text is larger than what a host shows to a model, and what did not fit can be had.
#[tokio::test]
async fn texts_are_bounded_in_bytes() {
    let line = format!("needle {}\n", "x".repeat(200));
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}{}", "n".repeat(200))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), line.as_str())).collect();
    let world = World::new(&files).await;
    for (tool, arguments) in [("list", json!({"limit": 1_000})), ("search", json!({"pattern": "needle", "limit": 500}))]
    {
        let reply = world.call(tool, arguments).await;
        let bytes = reply.texts[0].len();
        assert!((40_000..crate::TEXT_BYTES_MAX + 200).contains(&bytes), "{tool}: {bytes}");
        let structured = reply.structured.unwrap();
        assert!(structured["next_offset"].is_u64() || structured["incomplete"].is_string(), "{tool}");
    }
}

/// Everything that can go wrong, and what the model is told. Each text says what to do next.
#[tokio::test]
async fn errors_say_what_to_do() {
    let world = World::new(NOTES).await;
    fs::write(world.root().join("twice.md"), "salt\nand\nsalt\n").unwrap();
    fs::write(world.root().join("dos.md"), "one\r\n  two\r\n").unwrap();
    fs::write(world.root().join("image.png"), b"PNG \xff\xfe").unwrap();
    fs::write(world.root().join("zeros.bin"), b"ab\0").unwrap();
    fs::File::create(world.root().join("huge.log")).unwrap().set_len(1 << 40).unwrap();
    let calls = [
        ("list", json!({"path": "note"})),
        ("list", json!({"path": "index.txt"})),
        ("list", json!({"path": "notes", "offset": 9})),
        ("list", json!({"path": "../"})),
        ("read", json!({"path": "notes/old/sop.md"})),
        ("read", json!({"path": "notes/old/stew.txt"})),
        ("read", json!({"path": "notes/braed.md"})),
        ("read", json!({"path": "note/bread.md"})),
        ("read", json!({"path": "quite/another/thing.md"})),
        ("read", json!({"path": "index.txt/bread.md"})),
        ("read", json!({"path": "notes"})),
        ("read", json!({"path": ""})),
        ("read", json!({"path": "index.txt", "offset": 3})),
        ("read", json!({"path": "image.png"})),
        ("read", json!({"path": "zeros.bin"})),
        ("read", json!({"path": "huge.log"})),
        ("read", json!({"path": "\u{1b}[2J\nx"})),
        ("read", json!({"path": "/index.txt"})),
        ("read", json!({})),
        ("write", json!({"path": "notes", "content": "x"})),
        ("write", json!({"path": "notes/", "content": "x"})),
        ("write", json!({"path": "index.txt/new.md", "content": "x"})),
        ("write", json!({"path": "x".repeat(300), "content": "x"})),
        ("edit", json!({"path": "notes/breads.md", "old": "a", "new": "b"})),
        ("edit", json!({"path": "notes/bread.md", "old": "", "new": "b"})),
        ("edit", json!({"path": "notes/bread.md", "old": "a", "new": "a"})),
        ("edit", json!({"path": "notes/bread.md", "old": "pepper", "new": "b"})),
        ("edit", json!({"path": "notes/bread.md", "old": "  Flour,  water", "new": "b"})),
        ("edit", json!({"path": "dos.md", "old": "one\ntwo", "new": "b"})),
        ("edit", json!({"path": "twice.md", "old": "salt", "new": "b"})),
        ("edit", json!({"path": "twice.md", "old": "salt", "new": "b", "count": 3})),
        ("edit", json!({"path": "image.png", "old": "P", "new": "b"})),
        ("edit", json!({"path": "huge.log", "old": "P", "new": "b"})),
        ("search", json!({"pattern": ""})),
        ("search", json!({"pattern": "(", "regex": true})),
        ("search", json!({"pattern": "(\\w{1000}){1000}", "regex": true})),
        ("search", json!({"pattern": "a", "glob": "[a"})),
        ("search", json!({"pattern": "a", "path": "nodes"})),
        ("search", json!({"pattern": "a", "path": "image.png"})),
    ];
    let mut said = String::new();
    for (tool, arguments) in calls {
        let shown = arguments.to_string().replace(&"x".repeat(300), "xxx…");
        let error = world.error(tool, arguments).await.replace(&"x".repeat(300), "xxx…");
        writeln!(said, "{tool} {shown}\n    {error}").unwrap();
    }
    insta::assert_snapshot!(said);
    assert_eq!(
        (world.content("twice.md"), world.content("dos.md")),
        ("salt\nand\nsalt\n".into(), "one\r\n  two\r\n".into())
    );
}
