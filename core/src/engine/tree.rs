//! Attaching to a process and all its descendants.
//!
//! From the moment that a process is traced, so is whatever it makes. What is left to find are
//! those that its descendants made before, while more are being made and their makers end; so
//! the list of all processes is read again until it shows nothing new.

use rustc_hash::FxHashSet;

use crate::backend::Listed;
use crate::error::About;
use crate::error::unless_gone;
use crate::limits::{HELD_FOR, UNANSWERED};
use crate::{AttachOptions, Backend, Pid, Result};

use super::drive::Turn;
use super::process::Start;
use super::{Engine, ProcessHandle};

/// What an attach to a tree has found so far.
struct Tree {
    root: Pid,
    options: AttachOptions,
    /// Those that this call has attached to.
    attached: Vec<Pid>,
    /// Those that were there before it, and are no descendants.
    strangers: FxHashSet<Pid>,
    /// The address spaces of the descendants.
    images: FxHashSet<u64>,
}

impl Tree {
    fn note_images(&mut self, listed: &[Listed], members: &[Pid]) {
        for process in listed {
            if process.pid == self.root || members.contains(&process.pid) {
                self.images.extend(process.image);
            }
        }
    }
}

impl<B: Backend> Engine<B> {
    /// Traces a running process and all its descendants, with all their threads.
    pub(crate) fn attach_tree(&mut self, options: AttachOptions) -> Result<Vec<Pid>> {
        let mut tree = Tree {
            root: options.pid,
            options,
            attached: Vec::new(),
            strangers: FxHashSet::default(),
            images: FxHashSet::default(),
        };
        match self.attach_all(&mut tree) {
            Ok(()) => Ok(tree.attached),
            Err(error) => {
                for pid in tree.attached {
                    // What went wrong first is what the caller has to know.
                    let _ = self.detach_process(pid);
                }
                Err(error)
            }
        }
    }

    fn attach_all(&mut self, tree: &mut Tree) -> Result<()> {
        let mut listed = self.backend.get_mut().processes()?;
        let mut members = descendants(&[tree.root], &listed);
        tree.strangers.extend(listed.iter().map(|process| process.pid));
        tree.strangers.retain(|pid| *pid != tree.root && !members.contains(pid));
        tree.note_images(&listed, &members);
        if self.table.find_process(tree.root).is_none() {
            self.attach_new(tree, tree.root)?;
        }
        let mut stale = true;
        loop {
            let mut news = false;
            for pid in members {
                news |= self.attach_member(tree, pid)?;
            }
            if !news && !stale {
                for pid in self.orphans(tree, &listed) {
                    news |= self.attach_member(tree, pid)?;
                }
                if !news {
                    return Ok(());
                }
            }
            // A fork that was under way is done once its maker has stopped, and can be seen.
            self.await_starts(&tree.attached)?;
            listed = self.backend.get_mut().processes()?;
            stale = false;
            let mut known: Vec<Pid> = tree.attached.iter().copied().chain([tree.root]).collect();
            known.retain(|&pid| self.table.find_process(pid).is_some());
            members = descendants(&known, &listed);
            tree.note_images(&listed, &members);
            tree.note_images(&listed, &known);
        }
    }

    /// Attaches to a descendant; says whether it was new.
    fn attach_member(&mut self, tree: &mut Tree, pid: Pid) -> Result<bool> {
        if self.table.find_process(pid).is_some() {
            return Ok(false);
        }
        match unless_gone(self.backend.get_mut().is_traced(pid))? {
            Some(false) => {}
            // Its parent's report is on the way.
            Some(true) => return Ok(false),
            None => return Ok(true),
        }
        unless_gone(self.attach_new(tree, pid))?;
        Ok(true)
    }

    fn attach_new(&mut self, tree: &mut Tree, pid: Pid) -> Result<()> {
        self.attach(tree.options.of(pid)).about(pid)?;
        tree.attached.push(pid);
        Ok(())
    }

    /// New processes that have the address space of a descendant, and whose line to it is broken.
    fn orphans(&self, tree: &Tree, listed: &[Listed]) -> Vec<Pid> {
        let is_strangers = |image| {
            let mut strangers = listed.iter().filter(|p| tree.strangers.contains(&p.pid));
            strangers.any(|stranger| stranger.image == Some(image))
        };
        let orphan = |process: &&Listed| {
            let pid = process.pid;
            let known = tree.strangers.contains(&pid) || self.table.find_process(pid).is_some();
            let image = process.image.filter(|image| tree.images.contains(image));
            !known && image.is_some_and(|image| !is_strangers(image))
        };
        listed.iter().filter(orphan).map(|process| process.pid).collect()
    }

    /// Waits for the first stops of processes that were attached to, but not for what the kernel
    /// holds.
    fn await_starts(&mut self, attached: &[Pid]) -> Result<()> {
        let mut held_for = 0;
        self.drive_until(UNANSWERED, |tracer, turn| {
            let processes = attached.iter().filter_map(|&pid| tracer.table.find_process(pid));
            let starts =
                |&process: &ProcessHandle| tracer.table.process(process).start == Start::Attaching;
            let starting: Vec<ProcessHandle> = processes.filter(starts).collect();
            if turn == Turn::Nothing {
                let mut held = true;
                let running = starting.iter().flat_map(|&process| tracer.running(process));
                for index in running.collect::<Vec<u32>>() {
                    let thread = tracer.table.slot(index).thread;
                    let answer = tracer.backend.get_mut().is_uninterruptible(thread);
                    held &= unless_gone(answer)? != Some(false);
                }
                held_for = if held { held_for + 1 } else { 0 };
            }
            Ok((starting.is_empty() || held_for >= HELD_FOR).then_some(()))
        })?;
        Ok(())
    }
}

/// The processes of a list whose parents lead to one of these, parents before their children.
fn descendants(of: &[Pid], listed: &[Listed]) -> Vec<Pid> {
    let mut known: FxHashSet<Pid> = of.iter().copied().collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for &Listed { pid, parent, .. } in listed {
            if known.contains(&parent) && pid != Pid::this() && known.insert(pid) {
                found.push(pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
