//! Several programs as one: rules in files, then plain lists.

use super::ast::{Action, ActionKind, Control, DirectiveKind, Position, Program, Target};

impl Program {
    /// Adds the directives of another program behind those of this one; positions go on pointing into their own files.
    pub fn append(&mut self, mut other: Self) {
        let first = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        for directive in &mut other.directives {
            shift(&mut directive.position, first);
            match &mut directive.kind {
                DirectiveKind::Rule(rule) => {
                    shift_targets(&mut rule.targets, first);
                    shift(&mut rule.operator.position, first);
                    shift_actions(&mut rule.actions, first);
                }
                DirectiveKind::Action(actions)
                | DirectiveKind::DefaultAction(actions)
                | DirectiveKind::UpdateAction(_, actions) => shift_actions(actions, first),
                DirectiveKind::UpdateTarget(_, targets) => shift_targets(targets, first),
                DirectiveKind::Marker(_)
                | DirectiveKind::Remove(_)
                | DirectiveKind::ComponentSignature(_)
                | DirectiveKind::Setting(_) => {}
            }
        }
        self.sources.append(&mut other.sources);
        self.directives.append(&mut other.directives);
    }
}

fn shift(position: &mut Position, first: u32) {
    position.source = position.source.saturating_add(first);
}

fn shift_targets(targets: &mut [Target], first: u32) {
    targets.iter_mut().for_each(|target| shift(&mut target.position, first));
}

fn shift_actions(actions: &mut [Action], first: u32) {
    for action in actions {
        shift(&mut action.position, first);
        if let ActionKind::Control(Control::RemoveTarget(_, target)) = &mut action.kind {
            shift(&mut target.position, first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{files::Memory, parse_text};
    use super::*;

    #[test]
    fn positions_point_into_the_files_of_their_own_program() {
        let read = |name: &str, id: u32| {
            let text = format!("\nSecRule ARGS|!ARGS:x \"@contains a\" \"id:{id},phase:2,deny\"\n");
            parse_text(&Memory::default(), name, &text).unwrap().0
        };
        let mut program = read("first.conf", 1);
        program.append(read("second.conf", 2));
        let names: Vec<_> = program.sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["first.conf", "second.conf"]);
        let DirectiveKind::Rule(rule) = &program.directives[1].kind else { panic!() };
        let positions = [
            program.directives[1].position,
            rule.targets[1].position,
            rule.operator.position,
            rule.actions[0].position,
        ];
        assert!(positions.iter().all(|position| position.source == 1 && position.line == 2), "{positions:?}");
    }
}
