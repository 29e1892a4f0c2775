//! What was decided about each ref of a push.

use std::collections::BTreeMap;

use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use store::{NewDeploy, NewPush, RefChange};

use super::candidate::{Candidate, Examined};
use super::report::{Event, Outcome, Rejection, Tell, Verdict};

/// One ref of a push, and what was decided about it.
pub(super) struct Decision {
    pub(super) change: RefChange,
    pub(super) outcome: Decided,
}

pub(super) enum Decided {
    /// Move the ref and serve the commit on the branch.
    Serve { branch: String, production: bool, candidate: Box<Candidate> },
    /// Move the ref and serve nothing.
    Move,
    /// Move nothing.
    Done(Outcome),
}

impl Decision {
    /// Whether its ref is moved.
    pub(super) fn moves(&self) -> bool {
        !matches!(self.outcome, Decided::Done(_))
    }

    /// Whether its commit is served as production.
    pub(super) fn goes_live(&self) -> bool {
        matches!(self.outcome, Decided::Serve { production: true, .. })
    }

    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.outcome = Decided::Done(Outcome::Rejected(rejection));
    }
}

/// What was found about a commit that was to be served.
pub(super) fn served(examined: Examined, branch: String, production: bool, tell: &Tell) -> Decided {
    match examined {
        Examined::Candidate(candidate) => Decided::Serve { branch, production, candidate },
        Examined::Rejected(rejection) => Decided::Done(Outcome::Rejected(rejection)),
        Examined::NoManifest => {
            tell.send(Event::NoManifest { branch });
            Decided::Move
        }
    }
}

/// Writes what is to be moved and served into the push.
pub(super) fn fill(push: &mut NewPush<'_>, decisions: &[Decision]) {
    push.refs = decisions
        .iter()
        .filter(|decision| decision.moves())
        .map(|decision| decision.change.clone())
        .collect();
    let served = decisions.iter().filter_map(|decision| match &decision.outcome {
        Decided::Serve { branch, candidate, .. } => Some((branch, candidate)),
        _ => None,
    });
    push.revisions = served.clone().filter_map(|(_, candidate)| candidate.new.clone()).collect();
    let required = served.clone().flat_map(|(_, candidate)| &candidate.prepared.manifest.secrets.required);
    push.requires = required.map(|name| name.as_str().to_owned()).collect();
    push.deploys = served
        .map(|(branch, candidate)| NewDeploy { branch: branch.clone(), commit: candidate.commit })
        .collect();
    // Previews have none: the domains are those of what people see.
    push.domains = decisions.iter().find_map(|decision| match &decision.outcome {
        Decided::Serve { production: true, candidate, .. } => {
            Some(candidate.prepared.manifest.app.domains.clone())
        }
        _ => None,
    });
}

/// Two new branches of one push cannot share an address either: the later one is rejected.
pub(super) fn reject_shared_addresses(app: &AppName, decisions: &mut [Decision]) {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for decision in decisions {
        if let Decided::Serve { branch, .. } = &decision.outcome {
            let label = branch_label(app, branch);
            match labels.get(&label) {
                Some(with) => {
                    let with = with.clone();
                    decision.reject(Rejection::SharedAddress { with });
                }
                None => {
                    labels.insert(label, branch.clone());
                }
            }
        }
    }
}

/// An atomic push moves all of its refs or none.
pub(super) fn reject_unless_all_move(decisions: &mut [Decision]) {
    let rejected = |decision: &Decision| matches!(decision.outcome, Decided::Done(Outcome::Rejected(_)));
    if decisions.iter().any(rejected) {
        decisions
            .iter_mut()
            .filter(|decision| !rejected(decision))
            .for_each(|decision| decision.reject(Rejection::Atomic));
    }
}

/// The verdict on a ref that nothing is served for.
pub(super) fn unmoved(decision: Decision) -> Verdict {
    let outcome = match decision.outcome {
        Decided::Done(outcome) => outcome,
        _ if decision.change.new.is_none() => Outcome::Deleted,
        _ => Outcome::Stored,
    };
    Verdict { name: decision.change.name, outcome }
}
