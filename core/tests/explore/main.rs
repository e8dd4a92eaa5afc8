//! What a kernel may do, in every order up to a depth, and at random beyond it; the clauses are
//! checked as invariants.
//!
//! A world is one process, and what may happen to it is a [`Scenario`]. A way through it is a list
//! of choices: who does what next, what the next wait finds, what the user does with an event. The
//! small scenarios are walked through in every way, but for ways that come to a world that was
//! seen before, after the same talk between tracer and kernel.
//!
//! To go deeper: `MORE=1 cargo test --release -p trapline-core --test explore` makes programs do
//! one step more in the small scenarios, and `CASES=100000` takes so many random ways through each
//! of the large ones, other ones with `SEED=2`; `ONLY=name` takes the scenarios that begin so. A
//! failure names its scenario and its way; `SCENARIO=name WAY="1, 2" [HOW=InPlace] [BSD=1]
//! [STEPS=1] [FAILURES=1] cargo test
//! -p trapline-core --test explore one_way -- --nocapture` tells it again.

mod breaks;
mod ledger;
mod path;
mod scenario;
mod world;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use trapline_core::StepOver;
use trapline_fake::{Fault, FreeBsdRules, LinuxRules, Rules};

use path::Path;
use scenario::{LARGE, Move, SMALL, Scenario};
use world::World;

/// How much of a scenario was walked through.
#[derive(Debug, Default)]
struct Explored {
    ways: u64,
    /// Different ones, by state and history.
    worlds: usize,
    /// The longest way, in steps of the kernel: what programs do, deaths, and reports.
    longest: usize,
    /// Most processes and threads at once.
    tasks: usize,
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Whether a scenario is among those that are asked for.
fn is_wanted(name: &str) -> bool {
    std::env::var("ONLY").map_or(true, |only| name.starts_with(&only))
}

/// Takes every way; the first that breaks a clause is an error, with its story.
fn explore<R: Rules>(scenario: &Scenario) -> Result<Explored, String> {
    let path = Path::default();
    let mut seen = HashSet::new();
    let mut explored = Explored::default();
    loop {
        let (steps, tasks) = go::<R>(scenario, path.clone(), &mut seen)
            .map_err(|wrong| tell::<R>(scenario, &path.choices(), &wrong))?;
        explored.ways += 1;
        explored.worlds = seen.len();
        explored.longest = explored.longest.max(steps);
        explored.tasks = explored.tasks.max(tasks);
        if !path.next() {
            return Ok(explored);
        }
    }
}

/// Takes one way. Says how long it is, in steps of the kernel, and how many tasks there were.
fn go<R: Rules>(
    scenario: &Scenario,
    path: Path,
    seen: &mut HashSet<u64>,
) -> Result<(usize, usize), String> {
    let mut world = World::<R>::new(scenario, path);
    match catch_unwind(AssertUnwindSafe(|| world.run(seen))) {
        Ok(Ok(())) => Ok((world.kernel_steps, world.most_tasks)),
        Ok(Err(wrong)) => Err(wrong),
        Err(_) => Err("panic".to_string()),
    }
}

/// Goes a way again, for its story.
fn tell<R: Rules>(scenario: &Scenario, choices: &[usize], wrong: &str) -> String {
    let mut world = World::<R>::new(scenario, Path::of(choices));
    world.tell_story();
    let _ = catch_unwind(AssertUnwindSafe(|| world.run(&mut HashSet::new())));
    world.tell_log();
    format!("{wrong}\n{}, WAY=\"{choices:?}\"\n{:#?}", R::RULES.system, world.story)
}

/// Each small scenario in full, under the rules of one kernel.
fn explore_small<R: Rules>() {
    let (mut failed, mut deep) = (false, false);
    for (name, scenario) in SMALL.iter().filter(|(name, _)| is_wanted(name)) {
        for scenario in scenario.each_way(number("MORE").unwrap_or(0)) {
            let how = scenario.step_over;
            match explore::<R>(&scenario) {
                Ok(explored) => {
                    println!("{name}, {how:?}: {explored:?}");
                    deep |= explored.tasks >= 4 && explored.longest >= 10;
                }
                Err(wrong) => {
                    println!("SCENARIO={name} HOW={how:?}: {wrong}");
                    failed = true;
                }
            }
        }
    }
    assert!(!failed);
    assert!(deep || std::env::var("ONLY").is_ok(), "none of them goes far");
}

#[test]
fn every_way_on_linux() {
    explore_small::<LinuxRules>();
}

#[test]
fn every_way_on_freebsd() {
    explore_small::<FreeBsdRules>();
}

/// Each small scenario again, with each request failing once at each place. It takes long, so that
/// programs do less unless `MORE` says otherwise.
fn explore_failing<R: Rules>() {
    let mut failed = false;
    for (name, scenario) in SMALL.iter().filter(|(name, _)| is_wanted(name)) {
        let steps = match number("MORE") {
            Some(more) => scenario.steps.min(2) + more,
            None => 1,
        };
        for scenario in scenario.each_way(0) {
            let scenario = Scenario { steps, failures: 1, ..scenario };
            let how = scenario.step_over;
            match explore::<R>(&scenario) {
                Ok(explored) => println!("{name}, {how:?}: {explored:?}"),
                Err(wrong) => {
                    println!("SCENARIO={name} HOW={how:?} STEPS={steps} FAILURES=1: {wrong}");
                    failed = true;
                }
            }
        }
    }
    assert!(!failed);
}

#[test]
fn e10_every_request_fails_once_on_linux() {
    explore_failing::<LinuxRules>();
}

#[test]
fn e10_every_request_fails_once_on_freebsd() {
    explore_failing::<FreeBsdRules>();
}

fn walk<R: Rules>() {
    let mut failed = false;
    for (name, scenario) in LARGE.iter().filter(|(name, _)| is_wanted(name)) {
        let cases = number("CASES").unwrap_or(150) as u32;
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 1000,
            ..Config::default()
        };
        for scenario in scenario.each_way(0) {
            let ways = proptest::collection::vec(0usize..64, 0..120);
            // The same ways each time, unless `SEED` says otherwise.
            let seed = number("SEED").unwrap_or(1).to_le_bytes().repeat(4);
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
            let result = TestRunner::new_with_rng(config.clone(), rng).run(&ways, |choices| {
                let path = Path::of(&choices);
                go::<R>(&scenario, path, &mut HashSet::new()).map(drop).map_err(TestCaseError::fail)
            });
            match result {
                Ok(()) => {}
                Err(TestError::Fail(why, choices)) => {
                    let story = tell::<R>(&scenario, &choices, &why.to_string());
                    println!("SCENARIO={name} HOW={:?}: {story}", scenario.step_over);
                    failed = true;
                }
                Err(TestError::Abort(why)) => panic!("{name}: {why}"),
            }
        }
    }
    assert!(!failed);
}

#[test]
fn random_ways_on_linux() {
    walk::<LinuxRules>();
}

#[test]
fn random_ways_on_freebsd() {
    walk::<FreeBsdRules>();
}

/// Takes a way through a scenario.
fn take<R: Rules>(name: &str, how: StepOver, way: &[usize]) {
    let (_, scenario) = LARGE.iter().find(|(other, _)| *other == name).expect("it is there");
    let mut ways = scenario.each_way(0);
    let scenario = ways.find(|scenario| scenario.step_over == how).expect("it has breakpoints");
    let result = go::<R>(&scenario, Path::of(way), &mut HashSet::new());
    assert!(result.is_ok(), "{name}, {way:?}: {}", result.unwrap_err());
}

/// Ways that random ones with other seeds have found to fail, until that was mended.
#[test]
fn ways_that_once_failed() {
    use StepOver::{InPlace, OutOfLine};
    // A process ends whose thread waits in vfork, and others of it were kept back for the child.
    take::<FreeBsdRules>("broken_parent", OutOfLine, &[3, 16, 12, 10, 0, 0, 0]);
    // A handler comes back to a system call with a breakpoint, in a child whose maker is dead.
    take::<LinuxRules>("broken_unasked", InPlace, &[24, 35, 9, 31, 46, 49]);
    // A child is detached whose parent was killed in its stop.
    let way = [35, 48, 15, 33, 39, 8, 46, 2, 8, 0, 59];
    take::<LinuxRules>("broken_wild", OutOfLine, &way);
    // The maker of a child is dead, and its end is reported after that of another process.
    let way = [35, 61, 52, 19, 54, 53, 6, 7, 29, 50, 10, 30, 19, 1, 0, 0, 0, 0, 0];
    take::<FreeBsdRules>("broken_unasked", OutOfLine, &way);
    // A child was forked before memory for slots was mapped, and is heard of after that.
    let way = [17, 24, 58, 29, 2, 52, 8, 5, 13, 9, 19, 7, 31, 34, 33, 43];
    take::<FreeBsdRules>("broken_unasked", OutOfLine, &way);
    // A thread is shown and run that has yet to report a fork, and a breakpoint was put in meanwhile.
    let way = [45, 34, 34, 48, 21, 10, 61, 2, 0, 5];
    take::<FreeBsdRules>("broken_all", OutOfLine, &way);
    // The maker of a child was killed by the user, and no thread of it was left at its end.
    let way = [17, 11, 9, 19, 1, 31, 61, 15, 0, 60, 15, 0, 1, 8, 27, 0, 0, 0, 36];
    take::<FreeBsdRules>("broken_wild", OutOfLine, &way);
    // Both sides of a vfork are detached while a thread of the parent is in a slot.
    let way =
        [10, 16, 42, 9, 39, 42, 2, 12, 14, 13, 28, 0, 63, 62, 5, 41, 0, 63, 6, 47, 24, 27, 30, 20];
    take::<FreeBsdRules>("broken_wild", OutOfLine, &way);
    // A first thread ends while a halt has the others rest, which run on after that.
    let way = [59, 6, 32, 44, 33, 19, 0];
    take::<LinuxRules>("broken_all", OutOfLine, &way);
    take::<LinuxRules>("broken_all", InPlace, &way);
    let way = [38, 30, 1, 6, 16, 43, 63, 53, 23, 9, 0, 12, 10, 12];
    take::<LinuxRules>("broken_all", OutOfLine, &way);
    // The same as its process is detached.
    take::<LinuxRules>("wild_all", OutOfLine, &[32, 47, 54, 11, 1, 44, 63, 0]);
    // A breakpoint is asked for again, and an exec takes all of them away before that.
    let way = [59, 20, 3, 32, 19, 53, 30, 47, 2];
    take::<LinuxRules>("broken_unasked", OutOfLine, &way);
    take::<LinuxRules>("broken_unasked", InPlace, &[0, 0, 31, 43, 30, 32, 0, 20, 2, 47, 47]);
    // A process is killed whose threads rest in their exit stops.
    let way = [3, 13, 31, 11, 13, 4, 8, 43, 63, 0, 33, 27, 48, 2, 20];
    take::<LinuxRules>("wild_all", OutOfLine, &way);
    // The same, and its user has the tokens of the others and runs them.
    let way = [59, 34, 62, 16, 44, 62, 0, 13, 0, 25, 60, 0, 5, 4, 46, 17];
    take::<LinuxRules>("any_all", OutOfLine, &way);
    // A process is detached whose thread reports more than the others do, and has forked.
    take::<LinuxRules>("wild_unasked", OutOfLine, &[0, 24, 9, 3, 8, 27, 9, 50, 0, 49, 23]);
    // A process is detached, and the fork of a child is in the queue that it has not reported.
    take::<LinuxRules>("wild_all", OutOfLine, &[11, 5, 12, 12, 54, 6, 2, 21]);
    // A thread of which nothing was told has forked, and the child is shown before that is reported.
    let way = [
        11, 29, 41, 7, 40, 32, 13, 52, 31, 43, 57, 1, 44, 26, 53, 19, 40, 0, 10, 35, 53, 44, 32,
        14, 43, 0, 11, 4, 12, 0, 1, 11, 0, 15, 22, 4, 0, 0,
    ];
    take::<FreeBsdRules>("bold", OutOfLine, &way);
    // A child that shares its memory with one that is being detached.
    let way = [15, 2, 0, 34, 5, 5, 25, 15, 21, 2, 21, 0, 13];
    take::<FreeBsdRules>("broken_wild", OutOfLine, &way);
    // A halted process is detached whose tokens are those of dead threads.
    take::<LinuxRules>("wild_unasked", OutOfLine, &[61, 23, 0, 19, 9, 23, 8, 2, 31, 30, 0, 37]);
    // A thread that was to run into a breakpoint once more was stopped before that.
    let way = [
        10, 18, 1, 49, 1, 32, 17, 8, 1, 1, 6, 9, 30, 28, 9, 33, 10, 20, 43, 6, 27, 2, 31, 7, 0, 0,
        0, 0, 0,
    ];
    take::<LinuxRules>("broken_all", InPlace, &way);
    // A thread steps over a system call, which is interrupted and made again.
    let way = [45, 1, 19, 0, 2, 0, 56, 14, 23, 54, 17, 19, 25, 12, 2, 51, 5, 30, 43];
    take::<FreeBsdRules>("broken_all", OutOfLine, &way);
}

/// A check that finds nothing may be one that sees nothing.
fn finds<R: Rules>(name: &str, fault: Fault, moves: &'static [Move]) {
    let (_, scenario) = SMALL.iter().find(|(other, _)| *other == name).expect("it is there");
    // Steps are made where a breakpoint is stepped over in place.
    let step_over = match fault {
        Fault::LosesSteps => StepOver::InPlace,
        _ => StepOver::OutOfLine,
    };
    let scenario = Scenario { moves, steps: 2, step_over, fault: Some(fault), ..scenario.clone() };
    let result = explore::<R>(&scenario);
    assert!(result.is_err(), "{fault:?} was not found on {}", R::RULES.system);
}

#[test]
fn seeded_bugs_are_found() {
    use Move::*;
    for (fault, moves) in [
        (Fault::LosesChildren, &[Fork] as &'static [Move]),
        (Fault::ForgetsEarlyChildren, &[Fork]),
        (Fault::LosesForks, &[Fork]),
        (Fault::LosesExecs, &[Exec]),
        (Fault::LosesTheKilled, &[Kill]),
        (Fault::LiesAboutEnds, &[Exit]),
        (Fault::DropsSignals, &[Signal]),
        (Fault::DoublesSignals, &[Signal]),
        (Fault::LeavesStopped, &[Signal]),
        (Fault::MixesUpChildren, &[Fork]),
    ] {
        finds::<LinuxRules>("forks", fault, moves);
        finds::<FreeBsdRules>("forks", fault, moves);
    }
    for fault in [
        Fault::LosesWrites,
        Fault::LosesRegisters,
        Fault::LosesTraps,
        Fault::DoublesTraps,
        Fault::LosesSteps,
    ] {
        finds::<LinuxRules>("breaks", fault, &[Run]);
        finds::<FreeBsdRules>("breaks", fault, &[Run]);
    }
}

/// The same of bugs that show where requests fail.
#[test]
fn e10_seeded_bugs_are_found() {
    fn finds<R: Rules>(fault: Fault) {
        let (_, scenario) = SMALL.iter().find(|(name, _)| *name == "signals").expect("it is there");
        let scenario = Scenario { steps: 1, failures: 1, fault: Some(fault), ..scenario.clone() };
        let result = explore::<R>(&scenario);
        assert!(result.is_err(), "{fault:?} was not found on {}", R::RULES.system);
    }
    for fault in [Fault::DoesWhatFails, Fault::FailsAsGone, Fault::RunsWhatFails] {
        finds::<LinuxRules>(fault);
        finds::<FreeBsdRules>(fault);
    }
}

/// See the top of this file.
#[test]
fn one_way() {
    let (Ok(name), Ok(way)) = (std::env::var("SCENARIO"), std::env::var("WAY")) else { return };
    let choices: Vec<usize> =
        way.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let mut all = SMALL.iter().chain(LARGE);
    let (_, scenario) = all.find(|(other, _)| *other == name).expect("there is such a scenario");
    let in_place = std::env::var("HOW").is_ok_and(|how| how == "InPlace");
    let mut ways = scenario.each_way(number("MORE").unwrap_or(0));
    let scenario = ways.nth(usize::from(in_place)).expect("it has breakpoints");
    let failures = number("FAILURES").unwrap_or(scenario.failures);
    let steps = number("STEPS").unwrap_or(scenario.steps);
    let scenario = Scenario { failures, steps, ..scenario };
    println!(
        "{}",
        match number("BSD") {
            Some(_) => told::<FreeBsdRules>(&scenario, &choices),
            None => told::<LinuxRules>(&scenario, &choices),
        }
    );
}

/// The story of a way, and what is wrong with it.
fn told<R: Rules>(scenario: &Scenario, choices: &[usize]) -> String {
    let wrong = go::<R>(scenario, Path::of(choices), &mut HashSet::new()).err();
    tell::<R>(scenario, choices, &wrong.unwrap_or("nothing is wrong".to_string()))
}
