//! A table of system calls by number.

/// The names by number, `None` where no call has the number.
pub(crate) struct Names(Vec<Option<&'static str>>);

impl Names {
    /// Reads numbers, each followed by the names from that number on.
    pub(crate) fn read(text: &'static str) -> Names {
        let mut names = Vec::new();
        for word in text.split_ascii_whitespace() {
            match word.parse() {
                Ok(number) => names.resize(number, None),
                Err(_) => names.push(Some(word)),
            }
        }
        Names(names)
    }

    pub(crate) fn name(&self, number: u64) -> Option<&'static str> {
        *self.0.get(usize::try_from(number).ok()?)?
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.0.iter().position(|&other| other == Some(name)).map(|number| number as i64)
    }
}
