//! What was decided about each ref of a push.

use std::collections::BTreeMap;

use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use store::{DeployNumber, RefChange};

use super::candidate::{Candidate, Examined};
use super::domains::PendingDomain;
use super::report::{Activated, Event, Outcome, Rejection, Tell, Verdict};
use crate::nodes::Reach;

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

    /// The branch of a preview that its commit is served as.
    pub(super) fn preview(&self) -> Option<&str> {
        match &self.outcome {
            Decided::Serve { branch, production: false, .. } => Some(branch),
            _ => None,
        }
    }

    /// The branch that it deletes.
    pub(super) fn deleted_branch(&self) -> Option<&str> {
        let deletes = self.moves() && self.change.new.is_none();
        self.change.name.strip_prefix("refs/heads/").filter(|_| deletes)
    }

    /// Whether its commit is served as production.
    pub(super) fn goes_live(&self) -> bool {
        matches!(self.outcome, Decided::Serve { production: true, .. })
    }

    fn is_rejected(&self) -> bool {
        matches!(self.outcome, Decided::Done(Outcome::Rejected(_)))
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
    if decisions.iter().any(Decision::is_rejected) {
        reject_those(decisions, |decision| !decision.is_rejected(), &Rejection::Atomic);
    }
}

/// Rejects those of the decisions that `which` picks, all for the same reason.
pub(super) fn reject_those(
    decisions: &mut [Decision],
    which: impl Fn(&Decision) -> bool,
    rejection: &Rejection,
) {
    for decision in decisions.iter_mut().filter(|decision| which(decision)) {
        decision.reject(rejection.clone());
    }
}

/// A ref that was moved, and whose commit is served.
pub(super) struct Served {
    pub(super) change: RefChange,
    pub(super) branch: String,
    pub(super) production: bool,
    pub(super) deploy: DeployNumber,
    pub(super) validated_before: bool,
    pub(super) stopped: bool,
    pub(super) pending: Vec<PendingDomain>,
}

/// What came of a decision once all of them were committed.
pub(super) enum Settled {
    Served(Served),
    /// Nothing is served for the ref.
    Unserved(Verdict),
}

impl Settled {
    pub(super) fn is_served(&self) -> bool {
        matches!(self, Self::Served(_))
    }

    pub(super) fn goes_live(&self) -> bool {
        matches!(self, Self::Served(Served { production: true, .. }))
    }

    /// The verdict on the ref; `reach` says how far the push has come among the nodes.
    pub(super) fn verdict(self, reach: Option<Reach>) -> Verdict {
        let Served { change, branch, production, deploy, validated_before, stopped, pending } = match self {
            Self::Served(served) => served,
            Self::Unserved(verdict) => return verdict,
        };
        let before = change.old.filter(|old| Some(*old) != change.new);
        let activated = Activated { branch, deploy, validated_before, before, reach, stopped, pending };
        let outcome = if production { Outcome::Live(activated) } else { Outcome::Preview(activated) };
        Verdict { name: change.name, outcome }
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
