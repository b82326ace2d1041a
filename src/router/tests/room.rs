//! How much may be asked in a minute, how long an attempt may take, and how much a model reads.

use super::*;
use crate::router::Rate;

fn of(tokens: u64) -> Conversation<'static> {
    Conversation { tokens, ..Conversation::default() }
}

/// A world in which `a` may be asked at this rate, and the others at any.
fn bounded(does: &[&[Does]], requests: Option<u64>, tokens: Option<u64>) -> World {
    world_of(does, |table| table.rates.extend([("a".to_owned(), Rate { requests, tokens })]))
}

#[tokio::test(start_paused = true)]
async fn who_has_used_up_its_rate_is_passed_over_until_there_is_room() {
    for (requests, tokens) in [(Some(2), None), (None, Some(1000))] {
        let world = bounded(&[&[Answers], &[Answers]], requests, tokens);
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.extend(world.ask_in(of(450)).await.0);
        }
        // The answers took 110 tokens each, and not the 450 that they were taken for.
        let expected = if tokens.is_some() { ["a/m"; 4] } else { ["a/m", "a/m", "b/m", "b/m"] };
        assert_eq!(asked, expected);
        let told = world.verdicts(of(900));
        assert_eq!(told[0], ("b/m".to_owned(), Verdict::Taken));
        assert_eq!(told[1].1.to_string(), "last: the requests or tokens a minute that the settings allow are used up");
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(world.ask_in(of(900)).await.0, ["a/m"]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_keep_a_rate_together() {
    let world = bounded(&[&[Answers]], Some(20), None);
    let begun = Instant::now();
    let all = futures_util::future::join_all((0..30).map(|_| world.ask())).await;
    // Twenty go at once, two more within the eight seconds that are waited; the others are told when to come back.
    assert_eq!(all.iter().filter(|(_, ended)| ended.is_ok()).count(), 22);
    assert_eq!(all.iter().filter(|(_, ended)| *ended == Err(Class::RateLimited)).count(), 8);
    assert!((6..8).contains(&begun.elapsed().as_secs()));
    assert_eq!(world.asked(), [22]);
}

#[tokio::test(start_paused = true)]
async fn without_room_and_without_an_elsewhere_the_wait_is_told() {
    let world = bounded(&[&[Answers], &[Fails(Class::Credential)]], Some(1), None);
    assert_eq!(world.ask().await.0, ["a/m"]);
    let failure = world.router.ask("r", &request(), of(0), &mut |_| {}).await.unwrap_err();
    // What passes leaves more hope than a key that is wrong.
    assert_eq!((failure.class, failure.retry_after.map(|wait| wait.as_secs())), (Class::RateLimited, Some(59)));
    assert_eq!(failure.message, "a/m: the requests or tokens a minute that the settings allow are used up");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_more_than_a_minutes_worth_goes_when_nothing_else_does() {
    let world = bounded(&[&[Answers], &[Answers]], None, Some(100));
    assert_eq!(world.ask_in(of(5000)).await.0, ["a/m"]);
    assert_eq!(world.ask_in(of(5000)).await.0, ["b/m"]);
}

fn used_up(seconds: u64) -> Limits {
    Limits { requests_left: Some(0), tokens_left: None, reset: Some(Duration::from_secs(seconds)) }
}

const FEW: Limits = Limits { requests_left: Some(9), tokens_left: Some(300), reset: Some(Duration::from_secs(30)) };

#[tokio::test(start_paused = true)]
async fn what_a_provider_says_it_allows_is_believed() {
    for limits in [used_up(30), FEW] {
        let world = world(Policy::Order, &[&[Allows(limits), Answers], &[Answers]]);
        assert_eq!(world.ask_in(of(100)).await.0, ["a/m"]);
        assert_eq!(world.ask_in(of(400)).await.0, ["b/m"]);
        let told = world.verdicts(of(400))[1].1.to_string();
        assert_eq!(told, "last: it said that the requests or tokens it allows are used up");
        let kept = Memory::load(&world.router.memory().save().unwrap());
        assert_eq!(kept, world.router.memory(), "a restart forgets nothing of it");
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(world.ask_in(of(400)).await.0, ["a/m"]);
    }
    // What is sent meanwhile is taken off.
    let world = world(Policy::Order, &[&[Allows(FEW), Answers], &[Answers]]);
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.extend(world.ask_in(of(140)).await.0);
    }
    assert_eq!(asked, ["a/m", "a/m", "a/m", "b/m"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_cached_takes_no_room_where_it_is_cached() {
    let world = world(Policy::Order, &[&[Allows(FEW), Answers], &[Answers]]);
    assert_eq!(world.ask().await.0, ["a/m"]);
    let answered = Some(("a/m", world.router.shared.clock.now()));
    let cached = |cached| Conversation { answered, cached, tokens: 5000, ..Conversation::default() };
    assert_eq!(world.verdicts(cached(4800))[0].0, "a/m");
    assert_eq!(world.verdicts(cached(4000))[0].0, "b/m");
}

#[tokio::test(start_paused = true)]
async fn without_an_elsewhere_a_short_pause_is_waited_for_and_a_long_one_not_believed() {
    for (seconds, waited) in [(3, 3), (3600, 0)] {
        let world = world(Policy::Order, &[&[Allows(used_up(seconds)), Answers]]);
        assert!(world.ask().await.1.is_ok());
        let begun = Instant::now();
        assert!(world.ask().await.1.is_ok());
        assert_eq!(begun.elapsed().as_secs(), waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_has_timeouts_of_its_own() {
    let world = world_of(&[&[Stalls], &[Answers]], |table| {
        let timeouts = Patience { first_token: Some(Duration::from_secs(5)), ..Patience::default() };
        table.routes.values_mut().for_each(|route| route.timeouts = timeouts);
    });
    let begun = Instant::now();
    assert_eq!(world.ask().await, (["a/m", "b/m"].map(str::to_owned).to_vec(), Ok("b/m".to_owned())));
    assert!((5..7).contains(&begun.elapsed().as_secs()));
    // Without the route the provider's own hold.
    let begun = Instant::now();
    assert!(world.router.ask("a/m", &request(), of(0), &mut |_| {}).await.is_err());
    assert!(begun.elapsed().as_secs() >= 60);
}

#[tokio::test(start_paused = true)]
async fn a_server_on_this_machine_says_how_much_it_reads() {
    let facts = |_: &str| Facts { window: Some(2000), ..Facts::default() };
    let world = world_with(Policy::Order, &[&[Answers], &[Answers]], facts);
    assert_eq!(world.router.window("r"), Some(2000));
    world.router.survey("r").await;
    world.router.survey("a/m").await;
    assert_eq!((world.router.window("a/m"), world.router.window("b/m")), (Some(4096), Some(2000)));
    assert_eq!(world.verdicts(of(3000))[0], ("a/m".to_owned(), Verdict::Taken));
    assert_eq!(world.doubles[0].surveyed.load(Ordering::SeqCst), 1, "once an hour");
    tokio::time::sleep(Duration::from_secs(3601)).await;
    world.router.survey("a/m").await;
    assert_eq!(world.doubles[0].surveyed.load(Ordering::SeqCst), 2);
}
