//! The list that a dynamic linker keeps for debuggers: `r_debug` and `link_map` in `link.h`, which
//! glibc, musl and FreeBSD share in what is read here.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashSet, FxHasher};

use crate::{Error, Result};

use super::elf::{Image, Memory, field};

const DT_DEBUG: u64 = 21;
/// `RT_CONSISTENT`: nothing is being added or removed.
const CONSISTENT: u64 = 0;
/// From this version of `r_debug` on there is one for each namespace, and they are linked (glibc).
const LINKED: u64 = 2;

/// A program can make a list as long as it likes: how many entries are looked at.
const MOST_LINKS: usize = 10_000;
const MOST_NAMESPACES: usize = 64;

/// Functions of dynamic linkers that have a breakpoint of a debugger's: glibc and musl, FreeBSD.
const STOPS: [&[u8]; 2] = [b"_dl_debug_state", b"r_debug_state"];
/// The linker's `r_debug`, for when the linker itself is the program that was started (glibc).
const LIST: [&[u8]; 1] = [b"_r_debug"];

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) at: u64,
    /// The load bias, or (FreeBSD) where the file begins.
    pub(super) base: u64,
    pub(super) name: u64,
    pub(super) dynamic: u64,
}

/// What a dynamic linker says.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// The lists of all namespaces.
    pub(super) namespaces: Vec<Vec<Link>>,
    /// The function that is called whenever one has changed.
    pub(crate) stop: Option<u64>,
    is_changing: bool,
}

impl List {
    /// What the linker of a program says; nothing before it has run, or if there is none.
    pub(super) fn read(memory: &mut Memory<'_>, program: &Image) -> Result<List> {
        let entries = program.dynamic_entries(memory)?;
        let mut at = match entries.iter().find(|[tag, ..]| *tag == DT_DEBUG) {
            Some(entry) => entry[1],
            None if entries.is_empty() => 0,
            None => program.find_symbol(memory, &LIST)?.unwrap_or(0),
        };
        let mut list = List::default();
        let mut seen = FxHashSet::default();
        while at != 0 && seen.insert(at) && seen.len() <= MOST_NAMESPACES {
            let word = memory.word();
            let debug = match memory.bytes(at, 5 * word) {
                Err(Error::BadAddress { .. }) => break,
                debug => debug?,
            };
            let (version, first) = (field(&debug, 0, 4), field(&debug, word, word));
            let stop = field(&debug, 2 * word, word);
            list.stop = list.stop.or(Some(stop).filter(|&stop| stop != 0));
            list.is_changing |= field(&debug, 3 * word, 4) != CONSISTENT;
            list.namespaces.push(links(memory, first)?);
            at = match version >= LINKED {
                true => memory.words::<1>(at.wrapping_add(5 * word as u64)).map_or(0, |[at]| at),
                false => 0,
            };
        }
        Ok(list)
    }

    /// Whether nothing is being added or removed now, as far as is said.
    pub(crate) fn is_consistent(&self) -> bool {
        !self.is_changing
    }

    /// A number that another list does not have.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = FxHasher::default();
        // A namespace that has become empty is like none.
        for (at, list) in self.namespaces.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
            (at, list).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The entries of a list from this one on.
fn links(memory: &mut Memory<'_>, first: u64) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    let mut seen = FxHashSet::default();
    let mut at = first;
    while at != 0 && seen.insert(at) && links.len() < MOST_LINKS {
        let [base, name, dynamic, next] = match memory.words(at) {
            Err(Error::BadAddress { .. }) => break,
            words => words?,
        };
        links.push(Link { at, base, name, dynamic });
        at = next;
    }
    Ok(links)
}

/// The function that a dynamic linker will call when its list has changed, by its name: before it has
/// run it does not say.
pub(super) fn stop_of(memory: &mut Memory<'_>, linker: &Image) -> Result<Option<u64>> {
    linker.find_symbol(memory, &STOPS)
}
