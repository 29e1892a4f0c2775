-- What is live is the latest deploy of a commit on its branch. With the other index alone, PostgreSQL reads all deploys of the
-- branch to find it, or the whole table.
CREATE INDEX deploys_of_a_commit ON deploys (repository, branch, commit_id, number DESC);
