//! Every order of what a kernel may do, up to a depth.

mod ledger;
mod path;
mod scenario;
mod world;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use trapline_core::fake::{FreeBsdRules, LinuxRules, Rules};
use trapline_core::{EventFlags, FollowFork};

use path::Path;
use scenario::{Move, Scenario, User};
use world::{Outcome, World};

/// Takes every way; the first that breaks a clause is an error, with its story.
fn explore<R: Rules>(scenario: &Scenario) -> Result<(u64, u64), String> {
    let path = Path::default();
    let mut seen = HashSet::new();
    let (mut ways, mut ends) = (0, 0);
    let start = Instant::now();
    loop {
        let mut world = World::<R>::new(scenario, path.clone());
        let result = catch_unwind(AssertUnwindSafe(|| world.run(&mut seen)));
        ways += 1;
        match result {
            Ok(Ok(outcome)) => ends += u64::from(outcome == Outcome::Done),
            Ok(Err(wrong)) => {
                return Err(tell::<R>(scenario, &path.choices(), &wrong));
            }
            Err(_) => return Err(tell::<R>(scenario, &path.choices(), "panic")),
        }
        drop(world);
        if !path.next() {
            break;
        }
        if std::env::var("LIMIT").is_ok_and(|n| start.elapsed().as_secs() > n.parse().unwrap()) {
            println!("LIMIT {:?}", path.choices());
            break;
        }
    }
    println!(
        "{} {}: {ways} ways, {} worlds, {ends} ends, {:?}",
        R::RULES.system,
        scenario.name,
        seen.len(),
        start.elapsed()
    );
    Ok((ways, ends))
}

/// Goes a way again, for its story.
fn tell<R: Rules>(scenario: &Scenario, choices: &[usize], wrong: &str) -> String {
    let mut world = World::<R>::new(scenario, Path::of(choices));
    world.kernel.keep_log();
    world.tells = true;
    let result = catch_unwind(AssertUnwindSafe(|| world.run(&mut HashSet::new())));
    let story = &world.story;
    format!(
        "{wrong}\n{}, {}, path {choices:?}\n{story:#?} {result:?} {:?} {:#?}",
        R::RULES.system,
        scenario.name,
        world.kernel.violations(),
        world.kernel.log().iter().rev().take(12).rev().collect::<Vec<_>>(),
    )
}

const BASE: Scenario = Scenario {
    name: "",
    flags: EventFlags::PROCESS,
    follow: FollowFork::Both,
    threads: 1,
    moves: &[],
    steps: 3,
    processes: 3,
    kept: 0,
    user: &[],
    whims: 0,
    ambushes: 0,
};

fn scenarios() -> Vec<Scenario> {
    use Move::*;
    let all = EventFlags::all();
    let threads = EventFlags::PROCESS | EventFlags::THREAD;
    vec![
        Scenario { name: "forks", moves: &[Fork, Vfork, Exit, Exec, Kill], steps: 3, ..BASE },
        Scenario {
            name: "forks kept",
            moves: &[Fork, Vfork, Exit, Exec, Kill],
            steps: 2,
            kept: 2,
            ..BASE
        },
        Scenario { name: "siblings", moves: &[Sibling, Fork, Exit, Kill], steps: 3, ..BASE },
        Scenario { name: "ambush", moves: &[Fork, Vfork, Exec], steps: 2, ambushes: 1, ..BASE },
        Scenario {
            name: "threads",
            flags: threads,
            threads: 2,
            moves: &[Thread, ExitThread, Exit, Kill],
            steps: 3,
            ..BASE
        },
        Scenario {
            name: "threads unseen",
            threads: 2,
            moves: &[Thread, ExitThread, Exit, Kill],
            steps: 3,
            ..BASE
        },
        Scenario {
            name: "threads kept",
            flags: threads,
            threads: 2,
            moves: &[Thread, ExitThread, Kill],
            steps: 2,
            kept: 2,
            ..BASE
        },
        Scenario {
            name: "exec",
            flags: threads,
            threads: 2,
            moves: &[Exec, Thread, ExitThread, Kill],
            steps: 2,
            ..BASE
        },
        Scenario {
            name: "exec exit",
            flags: all - EventFlags::SYSCALL,
            threads: 2,
            moves: &[Exec, ExitThread, Kill],
            steps: 2,
            ..BASE
        },
        Scenario {
            name: "exit flag",
            flags: EventFlags::PROCESS | EventFlags::EXIT,
            threads: 2,
            moves: &[Fork, Exit, ExitThread, Kill],
            steps: 2,
            kept: 1,
            ..BASE
        },
        Scenario {
            name: "signals",
            threads: 2,
            moves: &[Signal, Stop, Cont, Kill],
            steps: 3,
            kept: 1,
            ..BASE
        },
        Scenario {
            name: "follow parent",
            follow: FollowFork::Parent,
            moves: &[Fork, Vfork, Exit, Exec, Kill],
            steps: 3,
            ..BASE
        },
        Scenario {
            name: "follow child",
            follow: FollowFork::Child,
            moves: &[Fork, Vfork, Exit, Exec, Kill],
            steps: 3,
            ..BASE
        },
        Scenario {
            name: "drop",
            moves: &[Fork, Signal, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Drop],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "detach",
            moves: &[Fork, Vfork, Signal, Exec, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Detach],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "detach threads",
            threads: 2,
            flags: threads,
            moves: &[Fork, Thread, Signal, ExitThread],
            steps: 2,
            kept: 1,
            user: &[User::Detach],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "kill",
            moves: &[Fork, Signal, Thread, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Kill],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "interrupt",
            threads: 2,
            moves: &[Fork, Signal, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Interrupt],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "step",
            threads: 2,
            moves: &[Fork, Signal, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Step],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "halt",
            threads: 2,
            moves: &[Fork, Signal, Thread, Kill],
            steps: 2,
            kept: 1,
            user: &[User::Halt],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "halt 2",
            threads: 2,
            moves: &[Vfork, Exec, ExitThread, Signal],
            steps: 2,
            kept: 1,
            user: &[User::Halt],
            whims: 1,
            ..BASE
        },
        Scenario {
            name: "no flags",
            flags: EventFlags::empty(),
            threads: 2,
            moves: &[Fork, Thread, Exec, Exit, Kill],
            steps: 2,
            ..BASE
        },
    ]
}

/// Anything goes.
fn wild() -> Vec<Scenario> {
    use Move::*;
    use User::*;
    const MOVES: &[Move] = &[
        Fork,
        Vfork,
        Sibling,
        Thread,
        Exec,
        ExitThread,
        Exit,
        Move::Signal,
        Stop,
        Cont,
        Move::Kill,
        Move::Signal,
        Fork,
        Thread,
    ];
    let wild = Scenario {
        name: "wild",
        threads: 2,
        moves: MOVES,
        steps: 25,
        processes: 6,
        kept: 3,
        user: &[Drop, Detach, User::Kill, Interrupt, Halt, Step],
        whims: 6,
        ambushes: 1,
        ..BASE
    };
    let tame =
        Scenario { name: "tame", user: &[Interrupt, Halt, Step], ambushes: 0, ..wild.clone() };
    let polite = Scenario { name: "polite", user: &[], ambushes: 0, ..wild.clone() };
    let all = EventFlags::all() - EventFlags::SYSCALL;
    vec![
        Scenario { name: "polite", ..polite.clone() },
        Scenario {
            name: "polite threads",
            flags: EventFlags::PROCESS | EventFlags::THREAD,
            ..polite.clone()
        },
        Scenario { name: "polite all", flags: all, ..polite.clone() },
        Scenario { name: "tame", ..tame.clone() },
        Scenario { name: "tame all", flags: all, ..tame.clone() },
        Scenario { name: "wild", ..wild.clone() },
        Scenario { name: "wild all", flags: all, ..wild.clone() },
        Scenario { name: "wild nothing", flags: EventFlags::empty(), ..wild.clone() },
        Scenario { name: "wild parent", follow: FollowFork::Parent, ..wild.clone() },
        Scenario { name: "wild child", follow: FollowFork::Child, ..wild.clone() },
    ]
}

fn walk<R: Rules>(scenario: &Scenario, choices: &[usize]) -> Result<(), String> {
    let mut world = World::<R>::new(scenario, Path::of(choices));
    match catch_unwind(AssertUnwindSafe(|| world.run(&mut HashSet::new()))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(wrong)) => Err(wrong),
        Err(_) => Err("panic".to_string()),
    }
}

#[test]
fn random() {
    use proptest::test_runner::{Config, TestError, TestRunner};
    std::panic::set_hook(Box::new(|_| {}));
    let cases = std::env::var("CASES").map_or(200, |n| n.parse().unwrap());
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failed = 0;
    fn check<R: Rules>(scenario: &Scenario, cases: u32) -> bool {
        let mut runner = TestRunner::new(Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 20000,
            ..Config::default()
        });
        let strategy = proptest::collection::vec(0usize..60, 0..120);
        let result = runner.run(&strategy, |choices| {
            walk::<R>(scenario, &choices).map_err(proptest::test_runner::TestCaseError::fail)
        });
        match result {
            Ok(()) => true,
            Err(TestError::Fail(why, choices)) => {
                println!("FAIL {} {} WAY={choices:?}: {why}", R::RULES.system, scenario.name);
                println!("{}", tell::<R>(scenario, &choices, &why.to_string()));
                false
            }
            Err(other) => {
                println!("{other:?}");
                false
            }
        }
    }
    for scenario in wild() {
        if !only.is_empty() && scenario.name != only {
            continue;
        }
        failed += usize::from(!check::<LinuxRules>(&scenario, cases));
        failed += usize::from(!check::<FreeBsdRules>(&scenario, cases));
    }
    assert_eq!(failed, 0);
}

#[test]
fn all() {
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failed = 0;
    let more: usize = std::env::var("MORE").map_or(0, |n| n.parse().unwrap());
    for mut scenario in scenarios() {
        scenario.steps += more;
        if !only.is_empty() && scenario.name != only {
            continue;
        }
        for result in [explore::<LinuxRules>(&scenario), explore::<FreeBsdRules>(&scenario)] {
            if let Err(wrong) = result {
                failed += 1;
                if only.is_empty() {
                    println!("FAIL {}", wrong.lines().take(2).collect::<Vec<_>>().join(" | "));
                } else {
                    println!("{wrong}");
                }
            }
        }
    }
    assert_eq!(failed, 0);
}

/// One way, for its story: `ONLY=scenario WAY="1 2 3"`.
#[test]
fn one() {
    let Ok(way) = std::env::var("WAY") else { return };
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut scenario = scenarios().into_iter().find(|s| s.name == only).unwrap();
    scenario.steps += std::env::var("MORE").map_or(0, |n| n.parse().unwrap());
    let choices: Vec<usize> =
        way.split_whitespace().map(|n| n.trim_matches(',').parse().unwrap()).collect();
    let story = if std::env::var("BSD").is_ok() {
        tell::<FreeBsdRules>(&scenario, &choices, "")
    } else {
        tell::<LinuxRules>(&scenario, &choices, "")
    };
    println!("{story}");
}
