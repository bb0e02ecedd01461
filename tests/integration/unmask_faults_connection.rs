//! The connection to PostgreSQL ends at any message of the protocol, in either direction, and the run is killed there.

use std::time::{Duration, Instant};

use crate::support::{Chance, Cutter, Ended, Pages, Point, Sender, Strike, soak};

/// What is sent in a run that nothing happens to, and how long it takes.
async fn undisturbed(pages: &Pages) -> ([Vec<u8>; 2], Duration) {
    let cutter = Cutter::before(pages.world.postgres_port(), None).await;
    let began = Instant::now();
    let url = pages.database_url_by(cutter.port);
    let ended = pages.start("undisturbed", false, &[("DATABASE_URL", &url)]).ended(&pages.world).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ([Sender::Client, Sender::Server].map(|sender| cutter.seen(sender)), began.elapsed())
}

/// Strikes at a point. A run that is held there is killed.
async fn strike(pages: &Pages, point: Point) -> Ended {
    let cutter = Cutter::before(pages.world.postgres_port(), Some(point)).await;
    let url = pages.database_url_by(cutter.port);
    let mut run = pages.start(&format!("{point:?}"), point.message.is_multiple_of(2), &[("DATABASE_URL", &url)]);
    if point.strike == Strike::Hold {
        tokio::select! {
            () = cutter.struck() => run.kill(),
            () = async { while run.is_running() { tokio::time::sleep(Duration::from_millis(2)).await } } => {}
        }
    }
    run.ended(&pages.world).await
}

/// Every message of a sender, of rows of a page but the first and the last.
fn messages(sender: Sender, types: &[u8]) -> Vec<(Sender, usize)> {
    let is_row = |index: usize| types.get(index) == Some(&b'D');
    let inner = |index: &usize| *index > 0 && is_row(index - 1) && is_row(*index) && is_row(index + 1);
    (0..types.len()).filter(|index| !inner(index)).map(|index| (sender, index)).collect()
}

/// Some of them, other ones each time, and the last of all: of the last page's outcome and its answer.
fn dose<T: Copy>(all: Vec<T>, chance: &mut Chance, some: usize, last: usize) -> Vec<T> {
    if soak() {
        return all;
    }
    let (before, end) = all.split_at(all.len() - last);
    let stride = before.len().div_ceil(some);
    let first = chance.below(stride);
    before.iter().skip(first).step_by(stride).chain(end).copied().collect()
}

async fn at_every_message(strike_by: Strike, some: usize, last: usize) {
    let pages = Pages::new().await;
    let mut chance = Chance::new();
    let ([client, server], _) = undisturbed(&pages).await;
    let all = [messages(Sender::Client, &client), messages(Sender::Server, &server)];
    let mut rows = std::collections::BTreeSet::new();
    let mut runs = 0;
    for all in all {
        for (sender, message) in dose(all, &mut chance, some, last) {
            let ended = strike(&pages, Point { sender, message, bytes: 0, strike: strike_by }).await;
            rows.insert(ended.rows);
            runs += 1;
        }
    }
    assert!(rows.contains(&1_000), "{runs} runs, none of which was struck at the end: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_at_any_message_before_it_or_its_answer_arrives() {
    at_every_message(Strike::Cut, 3, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_message() {
    at_every_message(Strike::Hold, 3, 3).await;
}

/// In the full dose four of these make more than 1,000 points, together with those above.
async fn at_random(count: usize, strikes: &[Strike]) {
    let pages = Pages::new().await;
    let mut chance = Chance::new();
    let ([client, server], took) = undisturbed(&pages).await;
    for number in 0..if soak() { 300 } else { count } {
        let Some(strike_by) = strikes.get(number % (strikes.len() + 1)) else {
            killed_after(&pages, took.mul_f64(f64::from(u32::try_from(chance.below(1_000)).unwrap()) / 900.0)).await;
            continue;
        };
        let (sender, types) = if chance.below(2) == 0 { (Sender::Client, &client) } else { (Sender::Server, &server) };
        let (message, bytes) = (chance.below(types.len()), chance.below(200));
        strike(&pages, Point { sender, message, bytes, strike: *strike_by }).await;
    }
}

async fn killed_after(pages: &Pages, time: Duration) {
    let mut run = pages.start(&format!("killed after {time:?}"), time.subsec_millis().is_multiple_of(2), &[]);
    tokio::time::sleep(time).await;
    run.kill();
    run.ended(&pages.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_in_the_middle_of_a_message_or_killed_at_a_random_moment() {
    at_random(8, &[Strike::Cut]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_for_good_or_killed_in_the_middle_of_a_message_or_at_a_random_moment() {
    at_random(6, &[Strike::CutForGood, Strike::Hold]).await;
}

/// The moment that matters most: rows are on their way to the file.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_rows_are_written() {
    let pages = Pages::new().await;
    for number in 0..if soak() { 300 } else { 4 } {
        let mut run = pages.start(&format!("killed at a write, {number}"), number % 2 == 0, &[]);
        let enough = u64::try_from(number % 3).unwrap() * 75_000;
        while run.written() <= enough && run.is_running() {
            tokio::task::yield_now().await;
        }
        run.kill();
        run.ended(&pages.world).await;
    }
}
