BEGIN TRANSACTION;
CREATE TABLE api_key (
        id TEXT PRIMARY KEY,
        application TEXT NOT NULL,
        scopes TEXT NOT NULL,           -- a JSON list
        name TEXT NOT NULL,
        digest TEXT NOT NULL,           -- of the whole key, SHA-256 in hexadecimal
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
CREATE TABLE counter (
            application TEXT NOT NULL,
            span TEXT NOT NULL CHECK (span IN ('slot', 'hour')),
            agent_id TEXT NOT NULL,
            bucket INTEGER NOT NULL,
            positive INTEGER NOT NULL, negative INTEGER NOT NULL, neutral INTEGER NOT NULL, comments INTEGER NOT NULL, comment_characters INTEGER NOT NULL, sentiments INTEGER NOT NULL, polarity INTEGER NOT NULL, subjectivity INTEGER NOT NULL,
            PRIMARY KEY (application, span, agent_id, bucket)
        ) STRICT, WITHOUT ROWID;
INSERT INTO "counter" VALUES('default','hour','',12,1,0,0,0,0,0,0,0);
INSERT INTO "counter" VALUES('default','hour','helper',12,1,1,0,2,10,1,-750000,500000);
INSERT INTO "counter" VALUES('default','slot','',1963632,1,0,0,0,0,0,0,0);
INSERT INTO "counter" VALUES('default','slot','helper',1963632,1,1,0,2,10,1,-750000,500000);
INSERT INTO "counter" VALUES('shop','hour','seller',13,0,0,1,1,3,1,1000000,0);
INSERT INTO "counter" VALUES('shop','slot','seller',1963636,0,0,1,1,3,1,1000000,0);
CREATE TABLE delivery (
        id TEXT PRIMARY KEY,
        event_id TEXT NOT NULL,
        type TEXT NOT NULL,
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        occurred_at INTEGER NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
        attempts INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        leased_until INTEGER,
        error TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "delivery" VALUES('669f8387755ed526d63da812856b00e5/log','669f8387755ed526d63da812856b00e5','feedback.deleted','default','withdrawn',2,1767269520123456,'log','pending',0,1767270000123456,NULL,'');
INSERT INTO "delivery" VALUES('94cd2638e5622548f5e97aeced3ceebb/log','94cd2638e5622548f5e97aeced3ceebb','feedback.created','default','withdrawn',1,1767269460123456,'log','pending',0,1767270000123456,NULL,'');
CREATE TABLE event (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        PRIMARY KEY (application, feedback_id, version)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES('default','full',1,'8ca419c046222f9b7caa8b4b03e8f764','feedback.created',1767268860123456);
INSERT INTO "event" VALUES('default','full',2,'2df36be913c2f40fa2211ff57ead57c9','feedback.updated',1767268980123456);
INSERT INTO "event" VALUES('default','full',3,'b61f0bdd7e67b74e81f1107f2198b8fd','feedback.updated',1767269040123456);
INSERT INTO "event" VALUES('default','full',4,'d31afd30a75b6d2660ea4b208c9104f7','feedback.updated',1767269100123456);
INSERT INTO "event" VALUES('default','full',5,'df4682796784d7ef116b7e85a9651c7e','feedback.updated',1767269160123456);
INSERT INTO "event" VALUES('default','held',1,'eba9217f003a8636f5139df202afd7ca','feedback.created',1767269220123456);
INSERT INTO "event" VALUES('default','judged',1,'7911e799ff7e6e867b7202998cc47a63','feedback.created',1767269280123456);
INSERT INTO "event" VALUES('default','judged',2,'2796475c9c36b0d60c88345000a9d550','feedback.moderated',1767269340123456);
INSERT INTO "event" VALUES('default','judged',3,'4563960c5da0e3403756f84936f015f7','feedback.moderated',1767269400123456);
INSERT INTO "event" VALUES('default','plain',1,'6d1844bfc5d05c7f9faabe2b9c03a717','feedback.created',1767268800123456);
INSERT INTO "event" VALUES('default','withdrawn-later',1,'be772353c2cfa43f64917e319fbad2b4','feedback.created',1767269580123456);
INSERT INTO "event" VALUES('default','withdrawn-later',2,'dc02dda9d79f22d21b248ad48d0539fb','feedback.deleted',1767269640123456);
INSERT INTO "event" VALUES('shop','elsewhere',1,'56bebd821dcfa3db8fddcfed34a444c6','feedback.created',1767272400123456);
CREATE TABLE feedback (
        application TEXT NOT NULL,
        id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id TEXT,
        agent_id TEXT,
        author TEXT,
        rating INTEGER NOT NULL CHECK (rating IN (-1, 0, 1)),
        comment TEXT NOT NULL,
        tags TEXT NOT NULL,             -- a JSON list
        context TEXT NOT NULL,          -- a JSON object
        polarity INTEGER,               -- in millionths
        subjectivity INTEGER,           -- in millionths
        status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected')),
        decision TEXT,                  -- the rest of the moderation as a JSON object, if there is any
        reply TEXT,
        created_at INTEGER NOT NULL,    -- times are microseconds since 1970-01-01 UTC
        updated_at INTEGER NOT NULL,
        withdrawn_at INTEGER,
        version INTEGER NOT NULL,
        revisions TEXT,                 -- a JSON list, if there are any
        idempotency_key TEXT,
        fingerprint TEXT NOT NULL,
        vote INTEGER NOT NULL CHECK (vote IN (0, 1)),
        later_keys TEXT,                -- a JSON list of pairs, if there are any
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "feedback" VALUES('default','full','session-1','message-1','helper','ann',1,'Fine now','[]','{}',NULL,NULL,'approved',NULL,'Thank you',1767268860123456,1767269160123456,NULL,5,'[{"version":2,"rating":-1,"comment":"Too slow, \"again\" ✓","tags":["slow","größe"],"context":{"beta":true,"größe":"ü","none":null,"score":0.5,"turns":3,"user_tier":"premium"},"sentiment":[-250000,750000],"reply":"Sorry to hear that","replaced_at":1767269040123456},{"version":3,"rating":-1,"comment":"Still slow","tags":["slow"],"context":{"turns":4},"sentiment":[-500000,1],"reply":"Sorry to hear that","replaced_at":1767269100123456}]','key-1','print-1',1,'[["key-2","print-2"]]');
INSERT INTO "feedback" VALUES('default','held','session-1',NULL,NULL,NULL,0,'Buy this','["spam"]','{"beta":false,"turns":1}',NULL,NULL,'pending','{"reason":"Spam detected","moderator":null,"decided_at":null,"previous":null}',NULL,1767269220123456,1767269220123456,NULL,1,NULL,NULL,'',0,NULL);
INSERT INTO "feedback" VALUES('default','judged','session-2',NULL,'helper',NULL,-1,'No','[]','{}',-750000,500000,'approved','{"reason":"rude","moderator":"mo","decided_at":1767269400123456,"previous":"rejected"}',NULL,1767269280123456,1767269400123456,NULL,3,NULL,NULL,'',0,NULL);
INSERT INTO "feedback" VALUES('default','plain','session-1',NULL,NULL,NULL,1,'','[]','{}',NULL,NULL,'approved',NULL,NULL,1767268800123456,1767268800123456,NULL,1,NULL,NULL,'',0,NULL);
INSERT INTO "feedback" VALUES('default','withdrawn','session-1',NULL,NULL,'ben',-1,'Taken back','[]','{}',NULL,NULL,'approved',NULL,NULL,1767269460123456,1767269520123456,1767269520123456,2,NULL,NULL,'',0,NULL);
INSERT INTO "feedback" VALUES('default','withdrawn-later','session-2',NULL,NULL,'ben',1,'','[]','{}',NULL,NULL,'approved',NULL,NULL,1767269580123456,1767269640123456,1767269640123456,2,NULL,NULL,'',0,NULL);
INSERT INTO "feedback" VALUES('shop','elsewhere','session-1',NULL,'seller',NULL,0,'Meh','[]','{}',1000000,0,'approved',NULL,NULL,1767272400123456,1767272400123456,NULL,1,NULL,NULL,'',0,NULL);
CREATE TABLE session_metadata (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,            -- JSON
        PRIMARY KEY (application, session_id, name)
    ) STRICT, WITHOUT ROWID;
ANALYZE "sqlite_master";
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback','1000000 1000000 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_key','500000 500000 10 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_vote','100000 100000 10 2 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_time','1000000 1000000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_session','1000000 1000000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_agent','1000000 1000000 100000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_author','500000 500000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_waiting','1000 1000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_changed','10000 10000 1 1');
CREATE UNIQUE INDEX feedback_key ON feedback (application, session_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX feedback_vote ON feedback (application, session_id, ifnull(message_id, ''), author)
        WHERE vote = 1 AND author IS NOT NULL;
CREATE INDEX feedback_time ON feedback (application, created_at, id);
CREATE INDEX feedback_session ON feedback (application, session_id, created_at, id);
CREATE INDEX feedback_agent ON feedback (application, agent_id, created_at, id);
CREATE INDEX feedback_author ON feedback (application, author, created_at, id) WHERE author IS NOT NULL;
CREATE INDEX feedback_waiting ON feedback (application, created_at, id) WHERE status = 'pending';
CREATE INDEX delivery_due ON delivery (state, due_at, id);
CREATE INDEX delivery_feedback ON delivery (application, feedback_id);
CREATE TRIGGER feedback_forgotten AFTER DELETE ON feedback
    BEGIN
        DELETE FROM event WHERE application = OLD.application AND feedback_id = OLD.id;
        DELETE FROM delivery WHERE application = OLD.application AND feedback_id = OLD.id;
    END;
CREATE TRIGGER feedback_counted AFTER INSERT ON feedback
        WHEN NEW.status = 'approved' AND NEW.withdrawn_at IS NULL
        BEGIN 
        INSERT INTO counter VALUES (NEW.application, 'slot', ifnull(NEW.agent_id, ''), (NEW.created_at / 900000000), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0)), (NEW.application, 'hour', ifnull(NEW.agent_id, ''), (NEW.created_at / 3600000000 % 24), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0))
        ON CONFLICT (application, span, agent_id, bucket) DO UPDATE SET positive = positive + excluded.positive, negative = negative + excluded.negative, neutral = neutral + excluded.neutral, comments = comments + excluded.comments, comment_characters = comment_characters + excluded.comment_characters, sentiments = sentiments + excluded.sentiments, polarity = polarity + excluded.polarity, subjectivity = subjectivity + excluded.subjectivity;
     END;
CREATE TRIGGER feedback_uncounted AFTER DELETE ON feedback
        WHEN OLD.status = 'approved' AND OLD.withdrawn_at IS NULL
        BEGIN 
        UPDATE counter SET positive = positive - (OLD.rating = 1), negative = negative - (OLD.rating = -1), neutral = neutral - (OLD.rating = 0), comments = comments - (OLD.comment <> ''), comment_characters = comment_characters - (length(OLD.comment)), sentiments = sentiments - (OLD.polarity IS NOT NULL), polarity = polarity - (ifnull(OLD.polarity, 0)), subjectivity = subjectivity - (ifnull(OLD.subjectivity, 0)) WHERE application = OLD.application AND span = 'slot' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 900000000);
        DELETE FROM counter WHERE application = OLD.application AND span = 'slot' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 900000000) AND positive + negative + neutral = 0;
    
        UPDATE counter SET positive = positive - (OLD.rating = 1), negative = negative - (OLD.rating = -1), neutral = neutral - (OLD.rating = 0), comments = comments - (OLD.comment <> ''), comment_characters = comment_characters - (length(OLD.comment)), sentiments = sentiments - (OLD.polarity IS NOT NULL), polarity = polarity - (ifnull(OLD.polarity, 0)), subjectivity = subjectivity - (ifnull(OLD.subjectivity, 0)) WHERE application = OLD.application AND span = 'hour' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 3600000000 % 24);
        DELETE FROM counter WHERE application = OLD.application AND span = 'hour' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 3600000000 % 24) AND positive + negative + neutral = 0;
     END;
CREATE TRIGGER feedback_uncounted_before_change AFTER UPDATE ON feedback
        WHEN OLD.status = 'approved' AND OLD.withdrawn_at IS NULL
        BEGIN 
        UPDATE counter SET positive = positive - (OLD.rating = 1), negative = negative - (OLD.rating = -1), neutral = neutral - (OLD.rating = 0), comments = comments - (OLD.comment <> ''), comment_characters = comment_characters - (length(OLD.comment)), sentiments = sentiments - (OLD.polarity IS NOT NULL), polarity = polarity - (ifnull(OLD.polarity, 0)), subjectivity = subjectivity - (ifnull(OLD.subjectivity, 0)) WHERE application = OLD.application AND span = 'slot' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 900000000);
        DELETE FROM counter WHERE application = OLD.application AND span = 'slot' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 900000000) AND positive + negative + neutral = 0;
    
        UPDATE counter SET positive = positive - (OLD.rating = 1), negative = negative - (OLD.rating = -1), neutral = neutral - (OLD.rating = 0), comments = comments - (OLD.comment <> ''), comment_characters = comment_characters - (length(OLD.comment)), sentiments = sentiments - (OLD.polarity IS NOT NULL), polarity = polarity - (ifnull(OLD.polarity, 0)), subjectivity = subjectivity - (ifnull(OLD.subjectivity, 0)) WHERE application = OLD.application AND span = 'hour' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 3600000000 % 24);
        DELETE FROM counter WHERE application = OLD.application AND span = 'hour' AND agent_id = ifnull(OLD.agent_id, '') AND bucket = (OLD.created_at / 3600000000 % 24) AND positive + negative + neutral = 0;
     END;
CREATE TRIGGER feedback_counted_after_change AFTER UPDATE ON feedback
        WHEN NEW.status = 'approved' AND NEW.withdrawn_at IS NULL
        BEGIN 
        INSERT INTO counter VALUES (NEW.application, 'slot', ifnull(NEW.agent_id, ''), (NEW.created_at / 900000000), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0)), (NEW.application, 'hour', ifnull(NEW.agent_id, ''), (NEW.created_at / 3600000000 % 24), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0))
        ON CONFLICT (application, span, agent_id, bucket) DO UPDATE SET positive = positive + excluded.positive, negative = negative + excluded.negative, neutral = neutral + excluded.neutral, comments = comments + excluded.comments, comment_characters = comment_characters + excluded.comment_characters, sentiments = sentiments + excluded.sentiments, polarity = polarity + excluded.polarity, subjectivity = subjectivity + excluded.subjectivity;
     END;
CREATE INDEX feedback_changed ON feedback (application, updated_at, id) WHERE version > 1;
COMMIT;
PRAGMA application_id = 1215458158;
PRAGMA user_version = 2;
PRAGMA journal_mode = WAL;
