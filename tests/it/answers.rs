//! Answers that are none from outside: filtered, refused, dead, empty, cut, or of a server that could not read its own model.

use std::{fs, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    failover::{World, two},
    model::{Model, Reply},
};

/// A world with one provider of the chat format.
fn alone(model: &Model) -> World {
    let world = World::new(&two(&model.base_url(), &model.base_url(), ""));
    world.agent("model: a/m");
    world
}

impl World {
    /// Runs a command that must fail with this exit code, and gives its document.
    fn fails(&self, args: &[&str], code: i32) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The classes of the attempts that failed, in turn.
    fn failed(&self) -> Vec<String> {
        let failed = self.entries("attempt_failed");
        failed.iter().map(|entry| entry["data"]["class"].as_str().unwrap().to_owned()).collect()
    }
}

/// A text that breaks off behind a clean end mark, as gateways write it when the provider behind them dies.
fn dead(text: &str) -> Reply {
    let choice = |delta: Value| json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    Reply::chunks([choice(json!({"role": "assistant", "content": text})), choice(json!({}))])
}

/// llama.cpp's words for a decoder that got stuck, in the midst of a stream.
fn stuck() -> Reply {
    let begun = json!({"choices": [{"finish_reason": null, "index": 0, "delta": {"role": "assistant", "content": null}}], "id": "c", "model": "m"});
    let error = json!({"error": {"code": 500, "message": "The model produced output that does not match the expected peg-native format", "type": "server_error"}});
    Reply::stream(format!("data: {begun}\n\ndata: {error}\n\n"))
}

#[test]
fn a_filtered_answer_is_never_done() {
    for reason in ["content_filter", "SAFETY", "refusal", "sensitive"] {
        let model = Model::replying([Reply::text("The company was fou").finish(reason)]);
        let world = alone(&model);
        let error = world.fails(&["run", "agent.yaml", "go"], 1)["error"].clone();
        assert_eq!(error["code"], "content_refused", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(reason) && message.ends_with("it wrote: The company was fou"), "{message}");
        assert!(world.entries("model_answered").is_empty());
        assert_eq!(world.entries("attempt_failed")[0]["data"]["discarded"], "The company was fou");
    }
}

#[test]
fn a_filtered_answer_goes_to_the_next_target_and_none_of_its_calls_runs() {
    let a = Model::replying([
        Reply::call("files__write", json!({"path": "a.txt", "content": "never"})).finish("content_filter")
    ]);
    let b = Model::replying([Reply::text("Hi.")]);
    let world = World::new(&two(&a.base_url(), &b.base_url(), ""));
    assert_eq!(world.run()["output"], "Hi.");
    assert_eq!((world.asked(), world.failed()), (vec!["a/m".into(), "b/m".into()], vec!["content_refused".into()]));
    assert!(!world.path("notes/a.txt").exists());
}

#[test]
fn a_text_without_a_finish_reason_is_asked_again() {
    let model = Model::replying([dead("1. stop the ser"), Reply::text("1. stop the server 2. start it")]);
    let world = alone(&model);
    assert_eq!(world.run()["output"], "1. stop the server 2. start it");
    assert_eq!(world.failed(), ["malformed_answer"]);
}

#[test]
fn an_empty_answer_is_asked_for_once_more_and_then_elsewhere() {
    let nothing = [Reply::answer(), Reply::answer().and_reasoning("Hmm.")];
    for nothing in nothing {
        let again = nothing.clone();
        let a = Model::answering(move |_| again.clone());
        let b = Model::replying([Reply::text("Hi.")]);
        let world = World::new(&two(&a.base_url(), &b.base_url(), ""));
        assert_eq!(world.run()["output"], "Hi.");
        assert_eq!(world.asked(), ["a/m", "a/m", "b/m"]);
        assert_eq!(world.failed(), ["malformed_answer", "malformed_answer"]);
    }
}

#[test]
fn answers_that_stay_malformed_end_in_a_clear_failure() {
    for (reply, says) in [(Reply::answer(), "the answer is empty"), (stuck(), "peg-native")] {
        let model = Model::answering(move |_| reply.clone());
        let world = alone(&model);
        let error = world.fails(&["run", "agent.yaml", "go"], 1)["error"].clone();
        assert_eq!(error["code"], "malformed_answer");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("a/m: ") && message.contains(says), "{message}");
        assert_eq!(model.count(), 6, "two requests, two pauses");
    }
}

#[test]
fn errors_of_a_decoder_are_asked_again_and_then_elsewhere() {
    let a = Model::answering(|_| stuck());
    let b = Model::replying([Reply::text("Hi.")]);
    let world = World::new(&two(&a.base_url(), &b.base_url(), ""));
    assert_eq!(world.run()["output"], "Hi.");
    assert_eq!(world.asked(), ["a/m", "a/m", "b/m"]);
    assert_eq!(world.failed(), ["malformed_answer", "malformed_answer"]);
}

#[test]
fn a_call_that_is_announced_and_does_not_come_is_asked_for() {
    let model = Model::replying([Reply::text("Let me look.").finish("tool_calls"), Reply::text("Nothing there.")]);
    let world = alone(&model);
    assert_eq!(world.run()["output"], "Nothing there.");
    assert_eq!(world.entries("output_rejected")[0]["data"]["code"], "no_call");
}

#[test]
fn a_turn_that_was_interrupted_goes_on() {
    let world = World::new("providers: {demo: {dialect: scripted, script: ./script.yaml}}\n");
    world.agent("model: demo/any");
    fs::write(world.path("script.yaml"), "version: 1\nanswers: [{text: I search., finish: paused}, {text: Found.}]")
        .unwrap();
    assert_eq!(world.run()["output"], "Found.");
    fs::write(world.path("script.yaml"), "version: 1\nanswers: [{text: I search., finish: paused, repeat: true}]")
        .unwrap();
    assert_eq!(world.fails(&["run", "agent.yaml", "go"], 1)["error"]["code"], "malformed_answer");
}

#[test]
fn a_conversation_of_long_texts_is_shortened_until_it_fits() {
    let model = Model::answering(move |request| {
        let shown: usize = request.messages().iter().map(|message| message["content"].to_string().len()).sum();
        match shown > 6000 {
            true => Reply::error(400, "This model's maximum context length is 2048 tokens.", "context_length_exceeded"),
            false => Reply::text(&format!("Read. {}", "y".repeat(2000))),
        }
    });
    let world = alone(&model);
    let long = format!("Remember the blue door. {}", "x".repeat(20_000));
    assert!(world.agentd(&["run", "agent.yaml", &long])["output"].as_str().unwrap().starts_with("Read."));
    for _ in 0..4 {
        assert!(world.agentd(&["resume", "@last", "and on"])["output"].as_str().unwrap().starts_with("Read."));
    }
    let last = &model.requests()[model.count() - 1];
    assert!(last.messages().iter().any(|message| message.to_string().contains("Remember the blue door.")));
    model.assert_valid();
}

#[test]
fn an_estimate_alone_does_not_end_a_run() {
    let model = Model::answering(|_| Reply::text("Read."));
    model.lists([json!({"id": "m", "max_model_len": 500})]);
    let world = alone(&model);
    assert_eq!(world.agentd(&["run", "agent.yaml", &"word ".repeat(2000)])["output"], "Read.");
}

#[test]
fn a_final_text_that_is_cut_is_told_as_cut_and_goes_on() {
    let model = Model::by_turn([
        Reply::text("Once").finish("length"),
        Reply::text("Once").finish("length"),
        Reply::text("upon a time."),
    ]);
    let world = alone(&model);
    let error = world.fails(&["run", "agent.yaml", "go"], 1)["error"].clone();
    assert_eq!(error["code"], "output_cut");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("cut off at the limit of tokens") && message.ends_with("So far it says: Once"),
        "{message}"
    );
    assert_eq!(world.agentd(&["resume", "@last", "go on"])["output"], "upon a time.");
}

#[test]
fn an_interrupted_request_counts_what_was_streamed() {
    let text = "word ".repeat(400);
    let model = Model::answering(move |_| {
        Reply::text(&text).and_call("files__write", json!({"path": "p"})).stall_after_events(3)
    });
    let world = alone(&model);
    let mut running = world.command(&["run", "agent.yaml", "go"]).stderr(Stdio::null()).spawn().unwrap();
    model.wait_for(1);
    // Nothing outside tells that what was streamed has arrived.
    std::thread::sleep(Duration::from_secs(1));
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let failed = &world.entries("attempt_failed")[0]["data"];
    assert_eq!((&failed["class"], &failed["estimated"]), (&json!("interrupted"), &json!(true)));
    assert!(failed["usage"]["output"].as_u64().unwrap() > 0, "{failed}");
}

#[test]
fn llama_cpp_is_recognised_and_asked_as_it_understands() {
    let wrong = || Reply::call("files__write", json!({"path": 1}));
    let model = Model::replying([
        wrong(),
        Reply::call("files__write", json!({"path": "a.txt", "content": "x"})),
        Reply::text("Done."),
    ]);
    model.lists([json!({"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 8192}})]);
    let world = alone(&model);
    assert_eq!(world.run()["output"], "Done.");
    let requests = model.requests();
    assert!(requests.iter().all(|request| request.body["max_tokens"].as_u64().is_some_and(|most| most > 0)));
    assert_eq!(requests[1].body["tool_choice"], "required");
    assert_eq!(requests[1].tools(), ["files__write"], "the one that must be called is the one on offer");
    assert!(requests[2].tools().len() > 1);
    let forced: Vec<_> = world.entries("model_asked").iter().map(|entry| entry["data"]["forced"] == true).collect();
    assert_eq!(forced, [false, true, false]);
    model.assert_valid();
    // A server that is something else is asked by name, and has limits of its own.
    let other = Model::replying([wrong(), Reply::text("Done.")]);
    other.lists([json!({"id": "m", "owned_by": "vllm"})]);
    alone(&other).run();
    let requests = other.requests();
    assert_eq!(requests[1].body["tool_choice"]["function"]["name"], "files__write");
    assert!(requests.iter().all(|request| request.body.get("max_tokens").is_none()));
}

/// Groq's words for an answer in which it could not read a call, by itself or in the midst of a stream.
fn unread(written: &str, in_stream: bool) -> Reply {
    let error = json!({
        "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
        "type": "invalid_request_error",
        "code": "tool_use_failed",
        "failed_generation": written,
    });
    let body = json!({ "error": error });
    match in_stream {
        true => Reply::stream(format!("event: error\ndata: {body}\n\n")),
        false => Reply::json(400, &body),
    }
}

#[test]
fn a_call_that_the_server_could_not_read_runs_where_its_dialect_is_taken() {
    for in_stream in [false, true] {
        let written = r#"<function=files__write{"path": "a.txt", "content": "new"}</function>"#;
        let model = Model::replying([unread(written, in_stream), Reply::text("Written.")]);
        let world = alone(&model);
        assert_eq!(world.run()["output"], "Written.");
        assert_eq!(std::fs::read_to_string(world.path("notes/a.txt")).unwrap(), "new");
        assert_eq!(world.failed(), [""; 0]);
        let call = &world.entries("model_answered")[0]["data"]["calls"][0];
        assert_eq!(call["resolved"]["repairs"][0]["rung"], "text", "{call:#}");
    }
}

#[test]
fn a_model_is_told_which_call_its_server_could_not_read() {
    let written = "files__write{\"path\": \"a.txt\"}</function>";
    let model = Model::replying([unread(written, false), Reply::text("I could not write it.")]);
    let world = alone(&model);
    assert_eq!(world.run()["output"], "I could not write it.");
    assert!(!world.path("notes/a.txt").exists());
    let requests = model.requests();
    let told = requests[1].last();
    assert!(told.contains("what looks like a call") && told.contains(written), "{told}");
    assert_eq!(world.entries("output_rejected")[0]["data"]["code"], "left_in_text");
}

/// Without a word of what the model wrote it is a malformed answer as any other.
#[test]
fn an_empty_failed_generation_is_a_malformed_answer() {
    let model = Model::replying([unread("", false), Reply::text("Hi.")]);
    let world = alone(&model);
    assert_eq!((world.run()["output"].clone(), world.failed()), (json!("Hi."), vec!["malformed_answer".to_owned()]));
}

#[test]
fn parallel_calls_within_one_run_each_as_itself() {
    let write =
        |path: &str| json!({"recipient_name": "functions.files__write", "parameters": {"path": path, "content": "x"}});
    let uses = json!({"tool_uses": [write("a.txt"), write("b.txt"), {"recipient_name": "functions.nobody", "parameters": {}}]});
    let model = Model::replying([Reply::call("multi_tool_use.parallel", uses), Reply::text("Written.")]);
    let world = alone(&model);
    assert_eq!(world.run()["output"], "Written.");
    assert!(world.path("notes/a.txt").exists() && world.path("notes/b.txt").exists());
    assert_eq!(world.entries("call_rejected").len(), 1);
    model.assert_valid();
}
