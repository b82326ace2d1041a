//! Canaries: secrets and sequences that a terminal obeys, given to all who could repeat them, and then looked for in all
//! that we show, log and keep.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::terminal::Terminal;

/// Told by the tool to the model as well: what the journal keeps as the tool's own words.
const SECRET: &str = "canary-told-\"4711\"";
/// Told on stderr and in our own errors alone.
const QUIET: &str = "canary-quiet-4712";
/// The key of a provider.
const KEY: &str = "canary-key-4713-abcdef";

/// What a terminal must never get from others. NO_COLOR is set, so none of it is ours.
const NASTY: [&str; 4] = ["\u{1b}[2J", "\u{1b}]0;", "\u{202e}", "\u{200b}"];

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/leaky.py");

/// The model repeats what it was told, and makes a call of its own invention.
const SCRIPT: &str = "
version: 1
answers:
  - {calls: [{name: leaky__tell, arguments: {}}, {name: \"x\\e[2J\\u202E\", arguments: {}}]}
  - {text: \"it said canary-told-\\\"4711\\\" \\e[2J\\e]0;owned\\a\\u202E\\u200B\"}
";

fn world() -> TempDir {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let env = "env: {SECRET: \"${CANARY_SECRET}\", QUIET: \"${CANARY_QUIET}\"}";
    write(
        "agent.yaml",
        &format!(
            "version: 1\nname: canary\nmodel: demo/any\nservers:\n  \
             leaky: {{command: python3, args: [-S, \"{SERVER}\"], {env}}}\n  \
             dead: {{command: python3, args: [-S, \"{SERVER}\", dies], required: false, {env}}}\n  \
             gone: {{command: \"./${{CANARY_QUIET}}\", required: false}}\n"
        ),
    );
    write(
        "broken.yaml",
        &format!(
            "version: 1\nname: broken\nmodel: demo/any\nservers:\n  dead: {{command: python3, args: [-S, \"{SERVER}\", dies], {env}}}\n"
        ),
    );
    write("asks.yaml", "version: 1\nname: asks\nmodel: far/any\n");
    write("script.yaml", SCRIPT);
    dir
}

fn agentd(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.args(args).current_dir(dir.path()).env("AGENTD_HOME", dir.path().join("home")).stdin(Stdio::null());
    command.env_remove("AGENTD_CONFIG").env("AGENTD_LOG", "debug").env("NO_COLOR", "1");
    command.env("CANARY_SECRET", SECRET).env("CANARY_QUIET", QUIET).env("CANARY_KEY", KEY);
    command
}

/// Every secret, in the spellings that could have been made of it.
fn secrets() -> Vec<String> {
    [SECRET, QUIET, KEY].iter().flat_map(|secret| [(*secret).to_owned(), secret.replace('"', "\\\"")]).collect()
}

fn tells_nothing(what: &str, text: &str) {
    for secret in secrets() {
        assert!(!text.contains(&secret), "{what} holds {secret}: {text}");
    }
}

fn obeys_nothing(what: &str, text: &str) {
    for nasty in NASTY {
        assert!(!text.contains(nasty), "{what} holds {nasty:?}: {text:?}");
    }
}

/// All files below a folder that hold a text.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let bytes = fs::read(entry.path()).unwrap();
                    if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                        found.push(entry.path().display().to_string());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn nothing_given_to_others_comes_back_out() {
    let dir = world();
    let settings = "version: 1\nproviders: {demo: {dialect: scripted, script: ./script.yaml}}\n";
    fs::write(dir.path().join("agentd.yaml"), settings).unwrap();
    let commands: &[(&[&str], i32)] = &[
        (&["run", "agent.yaml", "go"], 0),
        (&["run", "agent.yaml", "go", "--json"], 0),
        (&["run", "agent.yaml", "go", "--stream-json"], 0),
        (&["run", "agent.yaml", "go", "-o", "out.txt"], 0),
        (&["runs", "show", "@last"], 0),
        (&["runs", "show", "@last", "--json"], 0),
        (&["run", "broken.yaml", "go"], 5),
        (&["run", "broken.yaml", "go", "--json"], 5),
        (&["runs"], 0),
        (&["tools", "ls", "agent.yaml"], 0),
        (&["tools", "ls", "broken.yaml"], 5),
        (&["tools", "call", "agent.yaml", "leaky.tell"], 1),
        (&["tools", "call", "agent.yaml", "leaky.tell", "--json"], 1),
        (&["stats"], 0),
    ];
    let (mut shown, mut escaped) = (String::new(), false);
    for (args, code) in commands {
        let output = agentd(&dir, args).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {stdout}{stderr}");
        tells_nothing(&format!("stdout of {args:?}"), &stdout);
        tells_nothing(&format!("stderr of {args:?}"), &stderr);
        obeys_nothing(&format!("stderr of {args:?}"), &stderr);
        shown.push_str(&stdout);
        shown.push_str(&stderr);

        // Machines read the rest.
        if args.contains(&"--json") || args.contains(&"--stream-json") || args.contains(&"-o") {
            continue;
        }
        // Once more at a terminal.
        let (code_again, _, seen) = Terminal::start(agentd(&dir, args)).end();
        assert_eq!(code_again, *code, "{args:?}: {seen}");
        tells_nothing(&format!("the terminal at {args:?}"), &seen);
        obeys_nothing(&format!("the terminal at {args:?}"), &seen);
        escaped |= seen.contains("\\u{1b}[2J");
    }
    // The canaries did sing: each was about to be shown.
    for name in ["${CANARY_SECRET}", "${CANARY_QUIET}"] {
        assert!(shown.contains(name), "{name} is nowhere: {shown}");
    }
    assert!(escaped, "the sequences never came near the terminal");
    assert!(!fs::read_to_string(dir.path().join("out.txt")).unwrap().contains(SECRET));

    let home = dir.path().join("home");
    for secret in [QUIET, KEY] {
        assert_eq!(holding(&home, secret), Vec::<String>::new(), "{secret} is kept");
    }
}

/// Reads one HTTP request, head and body; `None` when the client left before it was complete.
fn whole_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.extend(body);
    Some(String::from_utf8_lossy(&request).into_owned())
}

#[test]
fn a_key_that_a_provider_repeats_is_shown_nowhere() {
    let dir = world();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // The whole request is read, body included: a socket that is closed with bytes unread resets the connection, and the
            // client may then never see the answer.
            let Some(request) = whole_request(&mut stream) else { continue };
            let key = request.split(KEY).count() > 1;
            assert!(key, "the key was sent: {request}");
            let message = format!("Incorrect API key provided: {KEY} \u{1b}[2J\u{202e}");
            let body = serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}}).to_string();
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    for key in ["${CANARY_KEY}", KEY] {
        let settings = format!(
            "version: 1\nproviders: {{far: {{dialect: openai-chat, base_url: \"http://127.0.0.1:{port}/v1\", key: \"{key}\"}}}}\n"
        );
        fs::write(dir.path().join("agentd.yaml"), settings).unwrap();
        for args in [
            &["run", "asks.yaml", "go", "--no-wait"][..],
            &["run", "asks.yaml", "go", "--no-wait", "--json"],
            &["runs", "show", "@last"],
        ] {
            let output = agentd(&dir, args).output().unwrap();
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(text.contains("Incorrect API key provided"), "{args:?}: {text}");
            tells_nothing(&format!("{args:?}"), &text);
            obeys_nothing(&format!("{args:?}"), &text);
        }
        assert_eq!(holding(&dir.path().join("home"), KEY), Vec::<String>::new());
    }
}
