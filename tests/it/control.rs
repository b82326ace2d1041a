//! The control socket on the wire: what a client without any of our code gets, and who gets nothing.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use agentd::{
    chat::Part,
    journal::{Posted, What, write_posted},
    run::Time,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{AGENT, Running, World};

/// A run that does not end by itself, and the socket of its process.
struct Live {
    world: World,
    running: Running,
    run: String,
    socket: PathBuf,
}

impl Live {
    fn start() -> Live {
        let world = World::new(AGENT, "answers: [{delay: 120s, text: late}]");
        let runtime = world.path("runtime");
        fs::create_dir(&runtime).unwrap();
        let mut running = Running::start({
            let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
            command.env("XDG_RUNTIME_DIR", &runtime);
            command
        });
        running.until("model_asked");
        let run = world.show()["run"].as_str().unwrap().to_owned();
        let socket = fs::read_dir(runtime.join("agentd")).unwrap().next().unwrap().unwrap().path();
        Live { world, running, run, socket }
    }

    /// Sends a request; the answer is open behind its head.
    fn send(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let mut head = format!("{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).unwrap() > 0, "the answer ended early: {head:?}");
        }
        Answer { head: head.to_lowercase(), stream }
    }

    fn stop(self) {
        self.running.signal(Signal::TERM);
        assert_eq!(self.running.end().0, 143);
    }
}

struct Answer {
    head: String,
    stream: BufReader<UnixStream>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn json(mut self) -> Value {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The next server-sent event: its id and its data.
    fn event(&mut self) -> (u64, Value) {
        let (mut id, mut line) = (None, String::new());
        loop {
            line.clear();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.trim().parse().unwrap());
            } else if let Some(data) = line.strip_prefix("data: ") {
                // Its id may come before or behind it.
                let data = serde_json::from_str(data).unwrap();
                while id.is_none() {
                    line.clear();
                    self.stream.read_line(&mut line).unwrap();
                    id = line.strip_prefix("id: ").map(|text| text.trim().parse().unwrap());
                }
                return (id.unwrap(), data);
            }
        }
    }
}

#[test]
fn entries_come_as_events_and_go_on_behind_the_last_one_that_was_seen() {
    let live = Live::start();
    let path = format!("GET /api/v1/runs/{}/entries", live.run);
    let mut all = live.send(&path, &[], b"");
    assert_eq!(all.status(), 200, "{}", all.head);
    assert!(all.head.contains("content-type: text/event-stream"), "{}", all.head);
    let first: Vec<(u64, Value)> = (0..3).map(|_| all.event()).collect();
    for (place, (id, entry)) in first.iter().enumerate() {
        assert_eq!((*id, &entry["seq"]), (place as u64, &json!(place)));
    }
    assert_eq!((&first[0].1["type"], &first[1].1["type"]), (&json!("started"), &json!("input_given")));
    let mut rest = live.send(&path, &[("Last-Event-ID", "0")], b"");
    assert_eq!(rest.event(), first[1]);
    let mut from = live.send(&format!("{path}?from=2"), &[], b"");
    assert_eq!(from.event(), first[2]);

    // What happens from now on comes by itself, and the end of the run is the end of the stream.
    assert_eq!(live.world.agentd(&["cancel", &live.run]).code, 0);
    while from.event().1["type"] != "ended" {}
    assert_eq!(live.running.end().0, 130);
    let mut end = String::new();
    from.stream.read_to_string(&mut end).unwrap();
    assert!(!end.contains("data: "), "{end}");
}

#[test]
fn what_is_wrong_is_a_problem_with_a_code() {
    let live = Live::start();
    let nobody = "0199c2d4-7f60-7a10-8000-000000000000";
    let inbox = format!("POST /api/v1/runs/{}/inbox", live.run);
    let key = ("Idempotency-Key", "000102030405060708090a0b0c0d0e0f");
    for (request, headers, body, status, code) in [
        (&*format!("GET /api/v1/runs/{nobody}"), &[][..], &b""[..], 404, "not_found"),
        (&*format!("GET /api/v1/runs/{nobody}/entries"), &[], b"", 404, "not_found"),
        (&*format!("POST /api/v1/runs/{nobody}/inbox"), &[key], b"{}", 400, "bad_request"),
        ("GET /api/v1/runs/no-id", &[], b"", 404, "not_found"),
        ("GET /api/v1/somewhere", &[], b"", 404, "not_found"),
        (&*inbox, &[], b"{}", 400, "bad_request"),
        (&*inbox, &[("Idempotency-Key", "seven")], b"{}", 400, "bad_request"),
        (&*inbox, &[key], b"no item", 400, "bad_request"),
    ] {
        let answer = live.send(request, headers, body);
        assert_eq!(answer.status(), status, "{request}: {}", answer.head);
        assert!(answer.head.contains("content-type: application/problem+json"), "{request}: {}", answer.head);
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{request}: {problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{request}: {problem}");
    }
    assert_eq!(live.send("GET /api/v1/runs", &[], b"").json()["runs"][0]["run"], live.run);
    live.stop();
}

#[test]
fn what_is_posted_twice_under_one_key_is_posted_once() {
    let live = Live::start();
    let posted = |text: &str| {
        let what = What::Prompt { parts: vec![Part::text(text)] };
        write_posted(&Posted { by: "somebody".to_owned(), at: Time(1_700_000_000_000), what })
    };
    let path = format!("POST /api/v1/runs/{}/inbox", live.run);
    let post = |key: &str, text: &str| {
        let answer = live.send(&path, &[("Idempotency-Key", key)], &posted(text));
        assert_eq!(answer.status(), 200, "{}", answer.head);
        answer.json()["seq"].as_u64().unwrap()
    };
    let (one, other) = ("000102030405060708090a0b0c0d0e0f", "0f0e0d0c0b0a09080706050403020100");
    let first = post(one, "more");
    assert_eq!(post(one, "more"), first);
    assert_eq!(post(other, "and more"), first + 1);
    let given: Vec<Value> = live.world.show()["entries"].as_array().unwrap().clone();
    let given = given.iter().filter(|entry| entry["type"] == "input_given").count();
    assert_eq!(given, 3, "the first prompt and two more");
    live.stop();
}

/// Asks for the runs as another user.
const ASK: &str = "
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
it = socket.socket(socket.AF_UNIX)
it.settimeout(30)
try:
    it.connect(sys.argv[1])
    it.sendall(b'GET /api/v1/runs HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n')
    print('answered' if it.recv(1) else 'closed')
except PermissionError:
    print('no entry')
except (BrokenPipeError, ConnectionResetError):
    print('closed')
";

#[test]
fn another_user_is_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can try this as another user");
        return;
    }
    let live = Live::start();
    let ask = || {
        let output = Command::new("python3").args(["-S", "-c", ASK]).arg(&live.socket).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(), "no entry\n");
    // Even if somebody opened the way: the user is looked at, not only the file.
    let public = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    live.socket.ancestors().skip(1).take(3).for_each(|dir| public(dir, 0o755));
    public(&live.socket, 0o666);
    assert_eq!(ask(), "closed\n");
    assert_eq!(live.send("GET /api/v1/runs", &[], b"").status(), 200);
    live.stop();
}

#[test]
fn who_does_nothing_or_takes_its_time_keeps_no_good_client_out() {
    let live = Live::start();
    let connect = |bytes: &str| {
        let mut stream = UnixStream::connect(&live.socket).unwrap();
        // Who had to give way already hears so at the next write.
        let _ = stream.write_all(bytes.as_bytes());
        stream
    };
    let post = format!("POST /api/v1/runs/{}/inbox HTTP/1.1\r\nhost: localhost\r\n", live.run);
    for begun in [
        String::new(),
        "GET /api/v1/runs HTTP/1.1\r\nhost: local".to_owned(),
        format!("{post}content-length: 200000\r\n\r\n{{"),
        format!("{post}content-length: 9000000\r\n\r\n{{"),
        format!("{post}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
        format!("GET /api/v1/runs/{}/entries HTTP/1.1\r\nhost: localhost\r\n\r\n", live.run),
    ] {
        let crowd: Vec<UnixStream> = (0..200).map(|_| connect(&begun)).collect();
        assert_eq!(live.send("GET /api/v1/runs", &[], b"").status(), 200, "{begun:?}");
        drop(crowd);
    }
    let words = write_posted(&Posted {
        by: "ada".to_owned(),
        at: Time(1),
        what: What::Prompt { parts: vec![Part::text("more")] },
    });
    let item = [("Idempotency-Key", "00112233445566778899aabbccddeeff")];
    let path = format!("POST /api/v1/runs/{}/inbox", live.run);
    assert_eq!(live.send(&path, &item, &words).status(), 200);
    live.stop();
}

#[test]
fn a_body_that_does_not_come_is_refused_in_time() {
    let live = Live::start();
    let mut stream = UnixStream::connect(&live.socket).unwrap();
    let head =
        format!("POST /api/v1/runs/{}/inbox HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{", live.run);
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"), "{answer}");
    live.stop();
}
