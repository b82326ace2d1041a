//! Pictures, sounds and documents on their way to models that take them and to models that do not.

use std::fs;

use serde_json::{Value, json};

use crate::{
    cli::World,
    model::{Model, Reply},
};

/// A model of the catalogue that takes text alone, as its provider names it.
const BLIND: &str = "groq/openai/gpt-oss-120b";

/// An agent at this model, with the server of `changing.py`; both providers are the double.
fn world(model: &Model, agents_model: &str) -> World {
    let world = World::new("", "answers: []");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/changing.py");
    let path = |name: &str| world.path(name);
    let env = json!({
        "LOG": path("effects.log"), "TOOLS": path("tools.json"), "NEXT": path("next.json"), "FAILS": path("fails"),
    });
    let agent = json!({
        "version": 1, "name": "viewer", "model": agents_model,
        "servers": {"s": {"command": "python3", "args": ["-S", server], "env": env}},
    });
    world.write("agent.yaml", &agent.to_string());
    let paper = json!({"name": "paper", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
    world.write("tools.json", &json!([paper]).to_string());
    let provider = json!({"dialect": "openai-chat", "base_url": model.base_url(), "key": "k"});
    let settings = json!({"version": 1, "providers": {"groq": provider, "local": provider}});
    world.write("agentd.yaml", &settings.to_string());
    fs::write(world.path("a.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    fs::write(world.path("a.wav"), b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0").unwrap();
    fs::write(world.path("a.pdf"), b"%PDF-1.7\n%\xff\xff\n").unwrap();
    world
}

const FILES: [&str; 6] = ["-f", "a.png", "-f", "a.wav", "-f", "a.pdf"];

/// The messages of the last request.
fn said(model: &Model) -> Vec<Value> {
    model.requests().last().unwrap().messages().to_vec()
}

#[test]
fn a_model_that_takes_text_alone_is_told_what_it_cannot_see() {
    let model = Model::by_turn([Reply::call("s__paper", json!({})), Reply::text("I cannot see it.")]);
    let world = world(&model, BLIND);
    let run = world.agentd(&[&["run", "agent.yaml", "Look"], &FILES[..]].concat());
    assert_eq!((run.code, run.stdout.as_str()), (0, "I cannot see it.\n"), "{run:#?}");
    let told = json!(said(&model)).to_string();
    for stub in [
        "[a.png, image/png, 16 bytes; left out: this model takes no pictures]",
        "[a.wav, audio/x-wav, 20 bytes; left out: this model takes no sounds]",
        "[a.pdf, application/pdf, 13 bytes; left out: this model takes no documents]",
        "[file:///a.pdf, application/pdf, 15 bytes; left out: this model takes no documents]",
        "[image/png, 8 bytes; left out: this model takes no pictures]",
    ] {
        assert!(told.contains(stub), "{stub:?} is missing: {told}");
    }
    for raw in ["base64", "input_audio", "iVBOR", "JVBER", "UklGR"] {
        assert!(!told.contains(raw), "{raw:?} was sent: {told}");
    }
    model.assert_valid();
}

#[test]
fn a_model_of_which_nothing_is_known_gets_all_that_its_format_has_a_place_for() {
    let model = Model::by_turn([Reply::call("s__paper", json!({})), Reply::text("I see.")]);
    let world = world(&model, "local/m");
    let run = world.agentd(&[&["run", "agent.yaml", "Look"], &FILES[..]].concat());
    assert_eq!(run.code, 0, "{run:#?}");
    let messages = said(&model);
    let of = |message: &Value| {
        let parts = message["content"].as_array().unwrap().iter();
        parts.map(|part| part["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&messages[0]), ["text", "image_url", "input_audio", "file"]);
    assert_eq!(of(messages.last().unwrap()), ["text", "file", "text", "image_url"], "those of the result");
    let result = messages.iter().find(|message| message["role"] == "tool").unwrap()["content"].to_string();
    assert!(!result.contains("JVBER") && result.contains("application/pdf"), "{result}");
    model.assert_valid();
}

#[test]
fn a_route_prefers_a_target_that_sees_and_falls_back_to_one_that_does_not() {
    let blind = Model::by_turn([Reply::text("Blind.")]);
    let sees = Model::by_turn([Reply::text("I see.")]);
    let world = world(&blind, "eyes");
    let provider = |model: &Model| json!({"dialect": "openai-chat", "base_url": model.base_url(), "key": "k"});
    let settings = json!({
        "version": 1, "providers": {"groq": provider(&blind), "openai": provider(&sees)},
        "routes": {"eyes": {"targets": [BLIND, "openai/gpt-5"]}},
    });
    world.write("agentd.yaml", &settings.to_string());
    let run = |more: &[&str]| world.agentd(&[&["run", "agent.yaml", "Look"], more].concat()).stdout;
    assert_eq!(run(&[]), "Blind.\n", "in the order of the route");
    assert_eq!(run(&["-f", "a.png"]), "I see.\n");
    sees.go_down();
    assert_eq!(run(&["-f", "a.png"]), "Blind.\n");
    assert!(json!(said(&blind)).to_string().contains("this model takes no pictures"));
}
