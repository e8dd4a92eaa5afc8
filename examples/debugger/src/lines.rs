//! From the source to addresses: a line, or a function behind its prologue.

use gimli::{AttributeValue, LineRow, Reader as _};

use crate::file::{Bytes, File, Unit};
use crate::modules::{Modules, last};

/// The addresses at which a breakpoint for `FILE:LINE`, or for a function, is to be; none if there is no
/// such place.
pub(crate) fn resolve(modules: &Modules, place: &str) -> Vec<u64> {
    let numbered = place.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
    let mut found = Vec::new();
    for module in &modules.list {
        let own = match numbered {
            Some((path, line)) => line_places(&module.file, path, line),
            None => function_places(&module.file, place),
        };
        found.extend(own.iter().map(|at| at.wrapping_add(module.bias)));
        if !found.is_empty() {
            break; // the program's own come before those of libraries
        }
    }
    found
}

/// A statement: the address of its first instruction, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) at: u64,
    pub(crate) line: u64,
    behind_prologue: bool,
}

fn statement(row: &LineRow) -> Option<Statement> {
    let line = row.line()?.get();
    let there = row.is_stmt() && !row.end_sequence();
    there.then_some(Statement { at: row.address(), line, behind_prologue: row.prologue_end() })
}

/// Calls a function with each statement of a unit, and the number of its file.
fn each_statement(unit: Unit<'_>, mut call: impl FnMut(u64, Statement)) -> Option<()> {
    let mut rows = unit.line_program.clone()?.rows();
    while let Some((_, row)) = rows.next_row().ok()? {
        if let Some(statement) = statement(row) {
            call(row.file_index(), statement);
        }
    }
    Some(())
}

/// The statements in a range of a file, by address.
pub(crate) fn statements(file: &File, start: u64, end: u64) -> Vec<Statement> {
    let mut found = Vec::new();
    if let Some(unit) = file.unit(start) {
        let _ = each_statement(unit, |_, statement| {
            if (start..end).contains(&statement.at) {
                found.push(statement);
            }
        });
    }
    found.sort_by_key(|statement| statement.at);
    found
}

/// Where a statement begins at just this address of the program.
pub(crate) fn begins_statement(modules: &Modules, at: u64) -> bool {
    let Some((module, own)) = modules.find(at) else { return false };
    !statements(&module.file, own, own + 1).is_empty()
}

/// Where a function's own code begins, behind the instructions that make its frame.
pub(crate) fn behind_prologue(file: &File, start: u64, size: u64) -> u64 {
    let statements = statements(file, start, start + size.max(1));
    let marked = statements.iter().find(|statement| statement.behind_prologue);
    let second = || statements.iter().find(|statement| statement.at > start);
    marked.or_else(second).map_or(start, |statement| statement.at)
}

fn function_places(file: &File, name: &str) -> Vec<u64> {
    let inner = format!("::{name}");
    let named = |full: &str| full == name || full.ends_with(&inner);
    let functions = file.symbols.iter().filter(|s| s.is_code && s.size > 0 && named(&s.name));
    let mut places: Vec<u64> =
        functions.map(|function| behind_prologue(file, function.at, function.size)).collect();
    places.dedup();
    places
}

/// The first statement of a line, or of the next one that has any, once for each function that it is in.
fn line_places(file: &File, path: &str, line: u64) -> Vec<u64> {
    let mut found: Vec<Statement> = Vec::new();
    for unit in file.units() {
        let unit = unit.unit_ref(&file.dwarf);
        let Some(program) = &unit.line_program else { continue };
        let header = program.header();
        let first = if header.version() >= 5 { 0 } else { 1 };
        let named = header.file_names().iter().enumerate().filter(|(_, entry)| {
            let name = string(unit, entry.path_name()).unwrap_or_default();
            name == path || last(&name) == path || name.ends_with(&format!("/{path}"))
        });
        let files: Vec<u64> = named.map(|(n, _)| n as u64 + first).collect();
        if files.is_empty() {
            continue;
        }
        let _ = each_statement(unit, |of, statement| {
            if files.contains(&of) && statement.line >= line {
                found.push(statement);
            }
        });
    }
    let Some(nearest) = found.iter().map(|statement| statement.line).min() else {
        return Vec::new();
    };
    found.retain(|statement| statement.line == nearest);
    found.sort_by_key(|statement| statement.at);
    let of = |statement: &Statement| file.function(statement.at).map(|function| function.at);
    found.dedup_by_key(|statement| of(statement));
    found.iter().map(|statement| statement.at).collect()
}

/// A string of the debugging information.
pub(crate) fn string(unit: Unit<'_>, value: AttributeValue<Bytes>) -> Option<String> {
    let text = unit.attr_string(value).ok()?;
    Some(text.to_string_lossy().ok()?.into_owned())
}
