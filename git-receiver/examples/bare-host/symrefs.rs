//! Symbolic refs in a push: if the target is pushed too, both must be updated to the same value.

use git_receiver::Command;

use crate::ref_update::{Action, RefUpdate};
use crate::repository::DiskRepository;

/// Makes updates of symbolic refs follow those of their targets, and rejects both if they differ.
pub(crate) fn resolve(repository: &DiskRepository, updates: &mut [RefUpdate], send_progress: &dyn Fn(&[u8])) {
    for index in 0..updates.len() {
        let RefUpdate { command: symref, error: None, .. } = &updates[index] else { continue };
        let Some(target) = repository.symbolic_target(&symref.name) else { continue };
        let Some(target_index) = updates.iter().position(|update| update.command.name == target) else {
            continue;
        };
        let other = &updates[target_index].command;
        if (symref.old, symref.new) == (other.old, other.new) {
            updates[index].action = Action::WithTarget(target_index);
            continue;
        }
        let (symref, target) = (describe(symref), describe(other));
        let message =
            format!("error: refusing inconsistent update between symref {symref} and its target {target}\n");
        send_progress(message.as_bytes());
        for update in [index, target_index] {
            updates[update].error = Some("inconsistent aliased update".to_owned());
        }
    }
}

/// Rejects the symbolic refs whose target is rejected.
pub(crate) fn copy_errors_from_targets(updates: &mut [RefUpdate]) {
    for index in 0..updates.len() {
        if let Action::WithTarget(target) = updates[index].action {
            updates[index].error = updates[target].error.clone();
        }
    }
}

/// A ref with its old and new value, abbreviated.
fn describe(command: &Command) -> String {
    let short = |id: &Option<git_receiver::ObjectId>| {
        id.map_or_else(|| "0".repeat(7), |id| id.to_hex_with_len(7).to_string())
    };
    format!("'{}' ({}..{})", command.name, short(&command.old), short(&command.new))
}
