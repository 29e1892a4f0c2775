-- Renames tables, columns, indexes and constraints to standard terms. No data changes.
--
-- Nodes of earlier versions use the old names, so none of them can run next to this schema. The check below repeats the one of
-- the starting node: it sees a node that registered after that one. The lock keeps others out until the commit.

SET LOCAL statement_timeout = 0;

LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE;
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM nodes
        WHERE seen_at BETWEEN clock_timestamp() - interval '15 seconds' AND clock_timestamp() + interval '1 minute'
    ) THEN
        RAISE EXCEPTION 'nodes of an earlier version are running' USING ERRCODE = 'object_in_use';
    END IF;
END
$$;

ALTER TABLE apps RENAME COLUMN collection_id TO gc_id;
ALTER TABLE apps RENAME COLUMN limit_schedule_runs TO limit_schedule_runs_per_minute;
ALTER TABLE deploys RENAME COLUMN because TO cause;
ALTER TABLE executions RENAME COLUMN number TO sequence;
ALTER TABLE executions RENAME COLUMN request TO request_id;
ALTER TABLE executions RENAME COLUMN memory TO memory_peak_bytes;
ALTER TABLE executions RENAME COLUMN lines TO log_lines;
ALTER TABLE executions RENAME COLUMN lines_dropped TO log_lines_dropped;
ALTER TABLE last_backup RENAME COLUMN one TO singleton;
ALTER TABLE logs RENAME COLUMN number TO sequence;
ALTER TABLE nodes RENAME COLUMN program TO version;
ALTER TABLE nodes RENAME COLUMN trouble TO not_ready_reason;
ALTER TABLE nodes RENAME COLUMN notices_deletions TO supports_gc;
ALTER TABLE preview_secrets RENAME COLUMN key TO key_id;
ALTER TABLE preview_secrets RENAME COLUMN sealed TO ciphertext;
ALTER TABLE schedule_hold RENAME COLUMN one TO singleton;
ALTER TABLE schedule_runs RENAME COLUMN due TO due_at;
ALTER TABLE schedule_runs RENAME COLUMN first_due TO first_due_at;
ALTER TABLE schedules RENAME COLUMN reckoned_until TO evaluated_until;
ALTER TABLE secrets RENAME COLUMN key TO key_id;
ALTER TABLE secrets RENAME COLUMN sealed TO ciphertext;

ALTER TABLE audit RENAME TO audit_events;
ALTER TABLE audit_events RENAME COLUMN who TO actor;
ALTER TABLE condemned RENAME TO unreachable_objects;
ALTER TABLE losses RENAME TO dropped_records;
ALTER TABLE dropped_records RENAME COLUMN number TO sequence;
ALTER TABLE dropped_records RENAME COLUMN lines TO log_lines;
ALTER TABLE outcomes RENAME TO transaction_outcomes;
ALTER TABLE record_count RENAME TO record_sequence;
ALTER TABLE record_sequence RENAME COLUMN one TO singleton;
ALTER TABLE record_sequence RENAME COLUMN last TO last_value;
ALTER TABLE record_portions RENAME TO retention_buckets;
ALTER TABLE retention_buckets RENAME COLUMN last TO last_sequence;
ALTER TABLE released RENAME TO released_objects;
ALTER TABLE served RENAME TO node_generations;
ALTER TABLE node_generations RENAME COLUMN fault TO error;
ALTER TABLE node_generations RENAME COLUMN since TO applied_at;

ALTER INDEX audit_by_age RENAME TO audit_events_at_idx;
ALTER INDEX audit_of_an_app RENAME TO audit_events_app_idx;
ALTER INDEX commits RENAME TO objects_commits_idx;
ALTER INDEX deploys_of_a_branch RENAME TO deploys_branch_idx;
ALTER INDEX deploys_of_a_commit RENAME TO deploys_commit_idx;
ALTER INDEX domains_of_an_app RENAME TO domains_app_idx;
ALTER INDEX executions_of_an_app RENAME TO executions_app_idx;
ALTER INDEX executions_that_failed RENAME TO executions_failed_idx;
ALTER INDEX logs_of_an_app RENAME TO logs_app_idx;
ALTER INDEX logs_of_an_execution RENAME TO logs_execution_idx;
ALTER INDEX preview_certificates_by_time RENAME TO preview_certificates_granted_at_idx;
ALTER INDEX schedule_runs_in_progress RENAME TO schedule_runs_in_progress_idx;
ALTER INDEX served_of_an_app RENAME TO node_generations_repository_idx;

-- Constraints keep the name of their table and column from when they were created. PostgreSQL 18 names NOT NULL too.
DO $$
DECLARE
    stale record;
BEGIN
    FOR stale IN
        SELECT conrelid::regclass AS relation, conname AS name, CASE contype
                WHEN 'n' THEN format('%s_%s_not_null', relname, attname)
                ELSE regexp_replace(
                    regexp_replace(conname, '^' || old.name || '_', relname || '_'),
                    CASE WHEN attname = 'singleton' THEN '_one_' ELSE '_limit_schedule_runs_check$' END,
                    CASE WHEN attname = 'singleton' THEN '_singleton_' ELSE '_limit_schedule_runs_per_minute_check' END)
            END AS renamed
        FROM pg_constraint
        JOIN pg_class ON pg_class.oid = conrelid
        LEFT JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        JOIN (VALUES
            ('apps', 'apps'), ('audit', 'audit_events'), ('condemned', 'unreachable_objects'), ('deploys', 'deploys'),
            ('executions', 'executions'), ('last_backup', 'last_backup'), ('logs', 'logs'), ('losses', 'dropped_records'),
            ('nodes', 'nodes'), ('outcomes', 'transaction_outcomes'), ('preview_secrets', 'preview_secrets'),
            ('record_count', 'record_sequence'), ('record_portions', 'retention_buckets'), ('released', 'released_objects'),
            ('schedule_hold', 'schedule_hold'), ('schedule_runs', 'schedule_runs'), ('schedules', 'schedules'),
            ('secrets', 'secrets'), ('served', 'node_generations')
        ) AS old (name, renamed) ON old.renamed = relname
        WHERE relnamespace = current_schema()::regnamespace
    LOOP
        IF stale.renamed <> stale.name THEN
            EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', stale.relation, stale.name, stale.renamed);
        END IF;
    END LOOP;
END
$$;

COMMENT ON TABLE apps IS 'Apps: named git repositories whose branches are deployed.';
COMMENT ON COLUMN apps.last_deploy IS 'The number of the latest deploy. Numbers are never reused.';
COMMENT ON COLUMN apps.repository IS 'Short key of the app, for tables with many small rows.';
COMMENT ON COLUMN apps.generation IS 'Incremented by every change that nodes have to apply, such as a push.';
COMMENT ON COLUMN apps.generation_id IS 'Random id of the generation. Distinguishes equal numbers after a point-in-time recovery or a restore.';
COMMENT ON COLUMN apps.protected IS 'Whether the production branch rejects non-fast-forward pushes without the force scope.';
COMMENT ON COLUMN apps.secrets_generation IS 'Incremented when a secret is set or unset. Nodes compare it to reload secrets.';
COMMENT ON COLUMN apps.limit_memory_share IS 'Limits of this app; NULL: the default of the server applies.';
COMMENT ON COLUMN apps.disk_bytes IS 'Size of objects, revisions, deploys, refs and shallow commits: each row counts its streams and texts plus 200 bytes. Updated in the transaction of every change.';
COMMENT ON COLUMN apps.gc_id IS 'Random id of the latest garbage collection. A push is rejected if it changed since the push was unpacked.';
COMMENT ON COLUMN apps.stopped_at IS 'When the app was stopped; NULL: it is running.';
COMMENT ON COLUMN apps.deleted_at IS 'When the app was deleted; NULL: it is not deleted.';
COMMENT ON COLUMN apps.deleted_name IS 'The name before the deletion. A deleted app is renamed to ~ and its id, which no app name can contain.';
COMMENT ON COLUMN apps.purging IS 'Whether purging has started, so that the app cannot be undeleted.';

COMMENT ON TABLE refs IS 'Branches and tags. refs/deploys/ is derived from the table deploys.';
COMMENT ON COLUMN refs.target IS 'The object name as 40 hexadecimal digits.';
COMMENT ON COLUMN refs.scheduled_since IS 'When the schedules of a preview were enabled; NULL: disabled. Production schedules are always enabled.';
COMMENT ON COLUMN refs.production_secrets IS 'Whether a preview reads production secrets: it was pushed before preview secrets existed. Cleared by the next push.';

COMMENT ON TABLE objects IS 'Git objects, each as the zlib stream of the pack in which it was received.';
COMMENT ON COLUMN objects.repository IS 'References apps.repository.';
COMMENT ON COLUMN objects.oid IS 'The object name: 20 bytes of SHA-1.';
COMMENT ON COLUMN objects.kind IS 'The object type. A delta has the type of its base.';
COMMENT ON COLUMN objects.base IS 'The delta base; NULL: the stream is the full object.';
COMMENT ON COLUMN objects.depth IS 'The delta chain depth: 0 for a full object, 1 for a delta against one.';
COMMENT ON COLUMN objects.size IS 'Inflated size of the stream in bytes: of the object or of the delta.';

COMMENT ON TABLE shallow IS 'Shallow commits: their parents were never pushed.';
COMMENT ON TABLE revisions IS 'Validated commits. Immutable.';
COMMENT ON COLUMN revisions.repository IS 'References apps.repository.';
COMMENT ON COLUMN revisions.commit_id IS 'The commit: 20 bytes of SHA-1.';
COMMENT ON TABLE deploys IS 'Deploys: which revision went live on which branch, when and by whom. Immutable.';
COMMENT ON COLUMN deploys.repository IS 'References apps.repository.';
COMMENT ON COLUMN deploys.commit_id IS 'The commit: 20 bytes of SHA-1.';
COMMENT ON COLUMN deploys.cause IS 'What created the deploy if not a push, such as a secret that was set.';
COMMENT ON COLUMN deploys.message IS 'The message given with a rollback.';

COMMENT ON TABLE unreachable_objects IS 'Objects that garbage collection is about to delete. Pushes treat them as missing.';
COMMENT ON TABLE released_objects IS 'Objects whose ref or deploy is gone, and when. Garbage collection starts after the grace period.';

COMMENT ON TABLE schedules IS 'State of each schedule. A claim of a due time locks the row.';
COMMENT ON COLUMN schedules.deploy IS 'The latest registered deploy that declares the schedule.';
COMMENT ON COLUMN schedules.evaluated_until IS 'Every due time up to this one was run or has a row in schedule_runs.';
COMMENT ON TABLE schedule_runs IS 'Schedule runs, and due times that were not run. The primary key ensures that a due time is run once.';
COMMENT ON COLUMN schedule_runs.due_at IS 'The due time; for several due times, the last one; for a manual run, when it was requested.';
COMMENT ON COLUMN schedule_runs.manual IS 'Whether a user started the run.';
COMMENT ON COLUMN schedule_runs.first_due_at IS 'The first due time of a row for several; NULL: the row is for one.';
COMMENT ON COLUMN schedule_runs.due_times IS 'How many due times the row is for, counted up to 1000; 1001 means more.';
COMMENT ON COLUMN schedule_runs.lease_until IS 'When the lease of the node expires. Other nodes then record the run as lost.';
COMMENT ON TABLE schedule_usage IS 'Schedule runs of each app in the current minute, for the rate limit.';
COMMENT ON TABLE schedule_hold IS 'At most one row. While it exists, no schedule runs on any node.';

COMMENT ON TABLE executions IS 'Executions: runs of scripts. Deleted by age and total size.';
COMMENT ON COLUMN executions.sequence IS 'Position in the order of all records: executions, logs and dropped_records share one sequence.';
COMMENT ON COLUMN executions.target IS 'Method and path, or the name of the function or the schedule.';
COMMENT ON COLUMN executions.memory_peak_bytes IS 'Peak memory of the script.';
COMMENT ON COLUMN executions.status IS 'HTTP status of the response; NULL: not an HTTP request.';
COMMENT ON COLUMN executions.failure IS 'The kind of failure; NULL: succeeded.';
COMMENT ON COLUMN executions.log_lines IS 'Log lines that were kept.';
COMMENT ON COLUMN executions.log_lines_dropped IS 'Log lines that were dropped by limits.';
COMMENT ON TABLE logs IS 'Log lines of scripts. Deleted by age and total size.';
COMMENT ON COLUMN logs.data IS 'Structured data as JSON.';
COMMENT ON COLUMN logs.line IS 'Line number in the script.';
COMMENT ON COLUMN logs.failure IS 'Whether the line reports the failure of the execution.';
COMMENT ON TABLE dropped_records IS 'How many records a node dropped: its buffer was full, or the database was down for too long.';
COMMENT ON COLUMN dropped_records.app IS 'NULL: written by an earlier version, which did not count per app.';
COMMENT ON TABLE record_sequence IS 'One row: the latest sequence number of a record. Writers lock it, so that numbers become visible in order.';
COMMENT ON TABLE retention_buckets IS 'Bytes of records and latest sequence number of each interval of ten seconds. Retention deletes by these.';
COMMENT ON TABLE record_bytes IS 'Approximate size of the records of each app. Updated together with the records.';

COMMENT ON TABLE secrets IS 'Encrypted secrets of production (ctx.secrets).';
COMMENT ON COLUMN secrets.key_id IS 'Id of the encryption key.';
COMMENT ON COLUMN secrets.ciphertext IS 'XChaCha20-Poly1305: 24 bytes of nonce, ciphertext, tag. The associated data is app and name.';
COMMENT ON TABLE preview_secrets IS 'Encrypted secrets of previews (ctx.secrets).';
COMMENT ON COLUMN preview_secrets.key_id IS 'Id of the encryption key.';
COMMENT ON COLUMN preview_secrets.ciphertext IS 'As in secrets; the associated data also names the environment.';

COMMENT ON TABLE tokens IS 'API tokens. Revoked tokens are deleted.';
COMMENT ON COLUMN tokens.hash IS 'SHA-256 of the token. The token itself is not stored.';
COMMENT ON COLUMN tokens.scopes IS 'Scopes separated by spaces: hello:deploy hello:read.';
COMMENT ON COLUMN tokens.last_used_at IS 'Updated at most once a minute.';
COMMENT ON TABLE audit_events IS 'The audit log: every change, who made it and from where. Append-only; old events are deleted.';
COMMENT ON COLUMN audit_events.id IS 'UUIDv7: sorts by time.';
COMMENT ON COLUMN audit_events.token IS 'The token that was used; NULL: the admin token.';
COMMENT ON COLUMN audit_events.app IS 'The name of the app, which may have been deleted since.';
COMMENT ON COLUMN audit_events.subject IS 'The changed ref, token, schedule or setting.';

COMMENT ON TABLE domains IS 'Verified custom domains. Those of a deleted app are prefixed with ~ and its id, so that other apps can use the names.';
COMMENT ON COLUMN domains.proof IS 'How the domain was verified: dns, admin, trusted, or earlier (before verification existed). NULL: not verified.';
COMMENT ON TABLE domain_claims IS 'Custom domains in the manifests of production, verified or not.';
COMMENT ON TABLE preview_certificates IS 'Preview host names that may get a certificate. Rows of deleted apps count towards the limit.';

COMMENT ON TABLE nodes IS 'Running nodes. Each sends a heartbeat every few seconds; others delete nodes without a recent one.';
COMMENT ON COLUMN nodes.version IS 'The PiCloud version.';
COMMENT ON COLUMN nodes.address IS 'The listen address.';
COMMENT ON COLUMN nodes.seen_at IS 'The latest heartbeat.';
COMMENT ON COLUMN nodes.not_ready_reason IS 'Why the node is not ready; NULL: it is ready.';
COMMENT ON COLUMN nodes.clock_skew_ms IS 'How far the clock of the node is ahead of the database clock.';
COMMENT ON COLUMN nodes.disk_free_bytes IS 'Free space of the file system with the data directory.';
COMMENT ON COLUMN nodes.disk_size_bytes IS 'Size of the file system with the data directory.';
COMMENT ON COLUMN nodes.supports_gc IS 'Whether pushes on this node compare apps.gc_id. Garbage collection waits while a node does not.';
COMMENT ON TABLE node_generations IS 'The latest generation of each app that each node applied.';
COMMENT ON COLUMN node_generations.generation_id IS 'apps.generation_id of that generation.';
COMMENT ON COLUMN node_generations.sequence IS 'Counts the reports of a node, so that a late one does not overwrite a newer one.';
COMMENT ON COLUMN node_generations.error IS 'Why the node cannot serve the generation; NULL: it serves it.';

COMMENT ON TABLE transaction_outcomes IS 'One row for each committed transaction, for an hour. A client that lost the reply to COMMIT inserts the same id to learn the outcome.';
COMMENT ON TABLE last_backup IS 'At most one row: when the database was last backed up.';
