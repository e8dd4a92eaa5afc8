//! What the screen shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, Paragraph};

use crate::model::{Model, Process, State};

const KEYS: &str = "up/down: select   space: pause, go on   k: kill   q: quit, and kill all";

/// Draws the processes, the events and the keys.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let rows = [Constraint::Min(0), Constraint::Length(1)];
    let [body, keys] = Layout::vertical(rows).areas(frame.area());
    let halves = [Constraint::Percentage(60), Constraint::Percentage(40)];
    let [left, right] = Layout::horizontal(halves).areas(body);
    let living = model.processes.iter().filter(|p| !matches!(p.state, State::Ended(_))).count();
    let title = format!(" {living} of {} processes ", model.processes.len());
    let items: Vec<ListItem<'_>> = model.processes.iter().map(item).collect();
    let list = List::new(items)
        .block(Block::bordered().title(title))
        .highlight_style(Style::default().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(list, left, &mut model.list);
    let lines = model.lines.iter().map(|line| Line::from(line.as_str()));
    let events = Paragraph::new(lines.collect::<Vec<_>>());
    frame.render_widget(events.block(Block::bordered().title(" events ")), right);
    frame.render_widget(Paragraph::new(KEYS), keys);
}

fn item(process: &Process) -> ListItem<'_> {
    let (color, state) = match process.state {
        State::Runs => (Color::Green, "runs".to_string()),
        State::Paused(_) => (Color::Yellow, "paused".to_string()),
        State::Ended(status) => (Color::DarkGray, status.to_string()),
    };
    let Process { pid, depth, program, .. } = process;
    ListItem::new(Line::from(vec![
        Span::raw(format!("{:indent$}{pid} {program}  ", "", indent = 2 * depth)),
        Span::styled(state, Style::default().fg(color)),
    ]))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use trapline::{ExitStatus, ForkKind, Notice, Pid, StopReason, Tid};

    use super::*;
    use crate::model::Told;

    fn told(notice: Notice, program: &[&str]) -> Told {
        let program = (!program.is_empty()).then(|| program.iter().map(Into::into).collect());
        Told { notice: Ok(notice), program }
    }

    #[test]
    fn the_screen_shows_the_tree_and_its_states() {
        let [sh, ls] = [100, 101].map(Pid::from_raw);
        let tid = Tid::from_raw(100);
        let mut model = Model::default();
        let reason = StopReason::Execed { former_tid: None };
        model.take(told(Notice::Stopped { pid: sh, tid, reason }, &["sh", "-c", "ls"]));
        model.take(told(
            Notice::Forked {
                kind: ForkKind::Fork,
                parent_pid: Some(sh),
                child_pid: ls,
                parent: Some(tid),
                child: Some(Tid::from_raw(101)),
            },
            &[],
        ));
        let exited = Notice::Exited { pid: ls, status: ExitStatus::Code(3), real_parent: Some(sh) };
        model.take(told(exited, &[]));
        model.take(told(Notice::Stopped { pid: sh, tid, reason: StopReason::Interrupted }, &[]));
        assert_eq!(model.selected(), Some((sh, State::Paused(tid))));

        let mut terminal = Terminal::new(TestBackend::new(80, 8)).unwrap();
        terminal.draw(|frame| draw(frame, &mut model)).unwrap();
        let screen = terminal.backend().to_string();
        for part in ["1 of 2 processes", "100 sh -c ls  paused", "  101 sh -c ls  exit status 3"] {
            assert!(screen.contains(part), "{part}:\n{screen}");
        }
        model.asked(sh);
        assert_eq!(model.selected(), Some((sh, State::Runs)));
        model.select(5);
        assert_eq!(model.selected().map(|(pid, _)| pid), Some(ls));
    }
}
