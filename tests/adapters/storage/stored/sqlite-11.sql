BEGIN TRANSACTION;
CREATE TABLE agent (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        PRIMARY KEY (application, session_id, agent_id)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE alert (
        application TEXT NOT NULL,
        id TEXT NOT NULL,
        rule TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject_by TEXT NOT NULL,
        subject TEXT NOT NULL,
        message TEXT NOT NULL,
        figures TEXT NOT NULL,          -- a JSON object
        feedback_ids TEXT NOT NULL,     -- a JSON list
        began_at INTEGER NOT NULL,
        raised_at INTEGER NOT NULL,
        resolved_at INTEGER,
        version INTEGER NOT NULL,
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE alert_feedback (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        alert_id TEXT NOT NULL,
        PRIMARY KEY (application, feedback_id, alert_id)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE api_key (
        id TEXT PRIMARY KEY,
        application TEXT NOT NULL,
        scopes TEXT NOT NULL,           -- a JSON list
        name TEXT NOT NULL,
        digest TEXT NOT NULL,           -- of the whole key, SHA-256 in hexadecimal
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    , agents TEXT, agent_scopes TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE comment_segment (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        application TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        version INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        begun INTEGER                   -- in seconds since 1970, while it is being built
    ) STRICT;
INSERT INTO "comment_segment" VALUES(1,'default',0,1767268860123457,1,2,NULL);
INSERT INTO "comment_segment" VALUES(2,'default',1767268860123457,1767269280123457,1,2,NULL);
CREATE TABLE comment_words (
        place INTEGER PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT;
INSERT INTO "comment_words" VALUES(274,X'010000009254A9BE010000000000');
INSERT INTO "comment_words" VALUES(335,X'01000000CFAC0C91010000000000');
INSERT INTO "comment_words" VALUES(384,X'4059A15852470600');
INSERT INTO "comment_words" VALUES(543,X'010000001F28AA67010000000100');
INSERT INTO "comment_words" VALUES(551,X'010000002782EEFE010000000000');
INSERT INTO "comment_words" VALUES(616,X'01000000E882DD22010000000000');
INSERT INTO "comment_words" VALUES(631,X'01000000778283CF010000000000');
INSERT INTO "comment_words" VALUES(640,X'4083166E52470600400AAA7152470600');
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
    , attempts_before INTEGER NOT NULL DEFAULT 0, session_id TEXT, awaits TEXT, certain INTEGER NOT NULL DEFAULT 1, late INTEGER NOT NULL DEFAULT 0, history TEXT, cause TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
INSERT INTO "delivery" VALUES('669f8387755ed526d63da812856b00e5:log','669f8387755ed526d63da812856b00e5','feedback.withdrawn','default','withdrawn',2,1767269520123456,'log','pending',0,1767270000123456,NULL,'',0,NULL,NULL,1,1,NULL,'');
INSERT INTO "delivery" VALUES('94cd2638e5622548f5e97aeced3ceebb:log','94cd2638e5622548f5e97aeced3ceebb','feedback.created','default','withdrawn',1,1767269460123456,'log','pending',1,1767270000123456,NULL,'The receiver answered 503 Service Unavailable',0,NULL,NULL,1,0,'[[1767270600123456,250000,"failed","503 Service Unavailable","try later","The receiver answered 503 Service Unavailable"]]','');
CREATE TABLE document (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        version INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE "event" (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        about_alert INTEGER NOT NULL DEFAULT 0,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        before TEXT,                    -- what it was before a change, as a JSON list
        PRIMARY KEY (application, feedback_id, version, about_alert)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES('default','full',1,0,'8ca419c046222f9b7caa8b4b03e8f764','feedback.created',1767268860123456,NULL);
INSERT INTO "event" VALUES('default','full',2,0,'2df36be913c2f40fa2211ff57ead57c9','feedback.updated',1767268980123456,'[-1,"approved",false,"helper",["slow","größe"]]');
INSERT INTO "event" VALUES('default','full',3,0,'b61f0bdd7e67b74e81f1107f2198b8fd','feedback.updated',1767269040123456,'[-1,"approved",false,"helper",["slow","größe"]]');
INSERT INTO "event" VALUES('default','full',4,0,'d31afd30a75b6d2660ea4b208c9104f7','feedback.updated',1767269100123456,'[-1,"approved",false,"helper",["slow"]]');
INSERT INTO "event" VALUES('default','full',5,0,'df4682796784d7ef116b7e85a9651c7e','feedback.updated',1767269160123456,'[1,"approved",false,"helper",[]]');
INSERT INTO "event" VALUES('default','held',1,0,'eba9217f003a8636f5139df202afd7ca','feedback.created',1767269220123456,NULL);
INSERT INTO "event" VALUES('default','judged',1,0,'7911e799ff7e6e867b7202998cc47a63','feedback.created',1767269280123456,NULL);
INSERT INTO "event" VALUES('default','judged',2,0,'2796475c9c36b0d60c88345000a9d550','feedback.moderated',1767269340123456,'[-1,"approved",false,"helper",[]]');
INSERT INTO "event" VALUES('default','judged',3,0,'4563960c5da0e3403756f84936f015f7','feedback.moderated',1767269400123456,'[-1,"rejected",false,"helper",[]]');
INSERT INTO "event" VALUES('default','plain',1,0,'6d1844bfc5d05c7f9faabe2b9c03a717','feedback.created',1767268800123456,NULL);
INSERT INTO "event" VALUES('default','withdrawn-later',1,0,'be772353c2cfa43f64917e319fbad2b4','feedback.created',1767269580123456,NULL);
INSERT INTO "event" VALUES('default','withdrawn-later',2,0,'dc02dda9d79f22d21b248ad48d0539fb','feedback.withdrawn',1767269640123456,'[1,"approved",false,null,[]]');
INSERT INTO "event" VALUES('shop','elsewhere',1,0,'56bebd821dcfa3db8fddcfed34a444c6','feedback.created',1767272400123456,NULL);
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
        later_keys TEXT, extras TEXT,                -- a JSON list of pairs, if there are any
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "feedback" VALUES('default','full','session-1','message-1','helper','ann',1,'Fine now','[]','{}',NULL,NULL,'approved',NULL,'Thank you',1767268860123456,1767269160123456,NULL,5,'[{"version":2,"rating":-1,"comment":"Too slow, \"again\" ✓","tags":["slow","größe"],"context":{"beta":true,"größe":"ü","none":null,"score":0.5,"turns":3,"user_tier":"premium"},"sentiment":[-250000,750000],"reply":"Sorry to hear that","replaced_at":1767269040123456},{"version":3,"rating":-1,"comment":"Still slow","tags":["slow"],"context":{"turns":4},"sentiment":[-500000,1],"reply":"Sorry to hear that","replaced_at":1767269100123456}]','key-1','print-1',1,'[["key-2","print-2"]]',NULL);
INSERT INTO "feedback" VALUES('default','held','session-1',NULL,NULL,NULL,0,'Buy this','["spam"]','{"beta":false,"turns":1}',NULL,NULL,'pending','{"reason":"Spam detected","moderator":null,"decided_at":null,"previous":null}',NULL,1767269220123456,1767269220123456,NULL,1,NULL,NULL,'',0,NULL,NULL);
INSERT INTO "feedback" VALUES('default','judged','session-2',NULL,'helper',NULL,-1,'No','[]','{}',-750000,500000,'approved','{"reason":"rude","moderator":"mo","decided_at":1767269400123456,"previous":"rejected"}',NULL,1767269280123456,1767269400123456,NULL,3,NULL,NULL,'',0,NULL,NULL);
INSERT INTO "feedback" VALUES('default','plain','session-1',NULL,NULL,NULL,1,'','[]','{}',NULL,NULL,'approved',NULL,NULL,1767268800123456,1767268800123456,NULL,1,NULL,NULL,'',0,NULL,NULL);
INSERT INTO "feedback" VALUES('default','withdrawn','session-1',NULL,NULL,'ben',-1,'Taken back','[]','{}',NULL,NULL,'approved',NULL,NULL,1767269460123456,1767269520123456,1767269520123456,2,NULL,NULL,'',0,NULL,NULL);
INSERT INTO "feedback" VALUES('default','withdrawn-later','session-2',NULL,NULL,'ben',1,'','[]','{}',NULL,NULL,'approved',NULL,NULL,1767269580123456,1767269640123456,1767269640123456,2,NULL,NULL,'',0,NULL,NULL);
INSERT INTO "feedback" VALUES('shop','elsewhere','session-1',NULL,'seller',NULL,0,'Meh','[]','{}',1000000,0,'approved',NULL,NULL,1767272400123456,1767272400123456,NULL,1,NULL,NULL,'',0,NULL,'{"nested": ["é", 1.0]}');
CREATE TABLE message (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        PRIMARY KEY (application, session_id, agent_id, number)
    ) STRICT;
CREATE TABLE session_metadata (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,            -- JSON
        PRIMARY KEY (application, session_id, name)
    ) STRICT, WITHOUT ROWID;
ANALYZE "sqlite_master";
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback','1000000 1000000 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_vote','100000 100000 10 2 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_time','1000000 1000000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_session','1000000 1000000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_agent','1000000 1000000 100000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_author','500000 500000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_waiting','1000 1000 1 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_changed','10000 10000 1 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery','1000000 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery_feedback','1000000 1000000 2 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert','10000 10000 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert_subject','10000 10000 2000 1000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert_rule','10000 10000 2000 1 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert_time','10000 10000 1 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert_standing','100 100 1 1');
INSERT INTO "sqlite_stat1" VALUES('document','document','100 50 1');
INSERT INTO "sqlite_stat1" VALUES('agent','agent','100000 100000 2 1');
INSERT INTO "sqlite_stat1" VALUES('message','sqlite_autoindex_message_1','1000000 1000000 50 50 1');
INSERT INTO "sqlite_stat1" VALUES('feedback','feedback_key','500000 500000 10 1 1');
INSERT INTO "sqlite_stat1" VALUES('event','event','10000 10000 1 1 1');
INSERT INTO "sqlite_stat1" VALUES('event','event_time','10000 1 1 1 1 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery_order','100000 100000 2 1 1 1');
INSERT INTO "sqlite_stat1" VALUES('told','told','1000000 1000000 2 1');
INSERT INTO "sqlite_stat1" VALUES('alert','alert_session','1000 1000 10 1');
INSERT INTO "sqlite_stat1" VALUES('alert_feedback','alert_feedback','10000 10000 2 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery_channel','1000000 300000 100000 100000 1 1 1 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery_list','1000000 1000000 300000 100000 1 1 1');
INSERT INTO "sqlite_stat1" VALUES('delivery','delivery_dead','1000 1000 300 100 1 1');
INSERT INTO "sqlite_stat1" VALUES('comment_segment','comment_segment_time','250 250 1 1');
INSERT INTO "sqlite_stat1" VALUES('comment_words',NULL,'30000');
CREATE TABLE term_correction (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        application TEXT NOT NULL,
        sign INTEGER NOT NULL CHECK (sign IN (-1, 1)),
        rating INTEGER NOT NULL,
        comment TEXT NOT NULL,
        polarity INTEGER
    ) STRICT;
CREATE TABLE term_counts (
        application TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        tokenizer INTEGER NOT NULL,
        until INTEGER NOT NULL,         -- counts feedback that was created before this
        counts BLOB NOT NULL            -- compressed JSON
    ) STRICT;
CREATE TABLE told (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        PRIMARY KEY (application, feedback_id, channel)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE uncounted (
        one INTEGER PRIMARY KEY CHECK (one = 1)
    ) STRICT;
CREATE UNIQUE INDEX feedback_vote ON feedback (application, session_id, ifnull(message_id, ''), author)
        WHERE vote = 1 AND author IS NOT NULL;
CREATE INDEX feedback_time ON feedback (application, created_at, id);
CREATE INDEX feedback_session ON feedback (application, session_id, created_at, id);
CREATE INDEX feedback_agent ON feedback (application, agent_id, created_at, id);
CREATE INDEX feedback_author ON feedback (application, author, created_at, id) WHERE author IS NOT NULL;
CREATE INDEX feedback_waiting ON feedback (application, created_at, id) WHERE status = 'pending';
CREATE INDEX delivery_feedback ON delivery (application, feedback_id);
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
CREATE INDEX alert_subject ON alert (application, rule, subject_by, subject, raised_at, id);
CREATE INDEX alert_rule ON alert (application, rule, raised_at, id);
CREATE INDEX alert_time ON alert (application, raised_at, id);
CREATE INDEX alert_standing ON alert (application, raised_at, id) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX feedback_key ON feedback (application, session_id, idempotency_key, ifnull(author, ''))
        WHERE idempotency_key IS NOT NULL;
CREATE INDEX event_time ON event (occurred_at, feedback_id, version);
CREATE INDEX delivery_order ON delivery (application, feedback_id, channel, version) WHERE state = 'pending';
CREATE TRIGGER delivery_made AFTER INSERT ON delivery WHEN NEW.state = 'pending'
        BEGIN 
    UPDATE delivery SET late = 1
        WHERE id = NEW.id AND EXISTS (SELECT 1 FROM delivery WHERE 
    application = NEW.application AND feedback_id = NEW.feedback_id AND channel = NEW.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (NEW.type GLOB 'alert.*')
 AND version < NEW.version);
    UPDATE delivery SET late = 1 WHERE 
    application = NEW.application AND feedback_id = NEW.feedback_id AND channel = NEW.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (NEW.type GLOB 'alert.*')
 AND version > NEW.version AND late = 0;
 END;
CREATE TRIGGER delivery_revived AFTER UPDATE OF state ON delivery WHEN OLD.state <> 'pending' AND NEW.state = 'pending'
        BEGIN 
    UPDATE delivery SET late = 1
        WHERE id = NEW.id AND EXISTS (SELECT 1 FROM delivery WHERE 
    application = NEW.application AND feedback_id = NEW.feedback_id AND channel = NEW.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (NEW.type GLOB 'alert.*')
 AND version < NEW.version);
    UPDATE delivery SET late = 1 WHERE 
    application = NEW.application AND feedback_id = NEW.feedback_id AND channel = NEW.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (NEW.type GLOB 'alert.*')
 AND version > NEW.version AND late = 0;
 END;
CREATE TRIGGER delivery_ended AFTER UPDATE OF state ON delivery WHEN OLD.state = 'pending' AND NEW.state <> 'pending'
        BEGIN UPDATE delivery SET late = 0 WHERE id = OLD.id AND late = 1;
    UPDATE delivery SET late = 0
        WHERE 
    application = OLD.application AND feedback_id = OLD.feedback_id AND channel = OLD.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (OLD.type GLOB 'alert.*')
 AND late = 1 AND version = (SELECT min(version) FROM delivery WHERE 
    application = OLD.application AND feedback_id = OLD.feedback_id AND channel = OLD.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (OLD.type GLOB 'alert.*')
);
 END;
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery WHEN OLD.state = 'pending'
        BEGIN 
    UPDATE delivery SET late = 0
        WHERE 
    application = OLD.application AND feedback_id = OLD.feedback_id AND channel = OLD.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (OLD.type GLOB 'alert.*')
 AND late = 1 AND version = (SELECT min(version) FROM delivery WHERE 
    application = OLD.application AND feedback_id = OLD.feedback_id AND channel = OLD.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = (OLD.type GLOB 'alert.*')
);
 END;
CREATE TRIGGER alert_listed AFTER INSERT ON alert WHEN NEW.feedback_ids <> '[]'
    BEGIN 
    INSERT INTO alert_feedback
        SELECT DISTINCT NEW.application, listed.value, NEW.id FROM json_each(NEW.feedback_ids) AS listed;
 END;
CREATE TRIGGER alert_relisted AFTER UPDATE OF feedback_ids ON alert WHEN OLD.feedback_ids <> NEW.feedback_ids
    BEGIN 
    DELETE FROM alert_feedback
        WHERE application = OLD.application AND alert_id = OLD.id
        AND feedback_id IN (SELECT listed.value FROM json_each(OLD.feedback_ids) AS listed);
 
    INSERT INTO alert_feedback
        SELECT DISTINCT NEW.application, listed.value, NEW.id FROM json_each(NEW.feedback_ids) AS listed;
 END;
CREATE TRIGGER alert_unlisted AFTER DELETE ON alert WHEN OLD.feedback_ids <> '[]'
    BEGIN 
    DELETE FROM alert_feedback
        WHERE application = OLD.application AND alert_id = OLD.id
        AND feedback_id IN (SELECT listed.value FROM json_each(OLD.feedback_ids) AS listed);
 END;
CREATE INDEX alert_session ON alert (application, subject) WHERE subject_by = 'session';
CREATE TRIGGER feedback_forgotten AFTER DELETE ON feedback
    BEGIN
        DELETE FROM event
            WHERE application = OLD.application AND feedback_id = OLD.id AND type NOT GLOB 'alert.*';
        DELETE FROM delivery
            WHERE application = OLD.application AND feedback_id = OLD.id
            AND type NOT GLOB 'alert.*' AND type <> 'feedback.erased';
        DELETE FROM told WHERE application = OLD.application AND feedback_id = OLD.id;
    END;
CREATE INDEX term_correction_application ON term_correction (application, number);
CREATE TRIGGER terms_added AFTER INSERT ON feedback WHEN 
    NEW.status = 'approved' AND NEW.withdrawn_at IS NULL AND NEW.rating <> 0 AND NEW.comment <> ''
    AND NEW.created_at < (SELECT until FROM term_counts WHERE application = NEW.application)
 AND NOT (FALSE)
        BEGIN
            INSERT INTO term_correction (application, sign, rating, comment, polarity)
                VALUES (NEW.application, 1, NEW.rating, NEW.comment, NEW.polarity);
        END;
CREATE TRIGGER terms_removed AFTER DELETE ON feedback WHEN 
    OLD.status = 'approved' AND OLD.withdrawn_at IS NULL AND OLD.rating <> 0 AND OLD.comment <> ''
    AND OLD.created_at < (SELECT until FROM term_counts WHERE application = OLD.application)
 AND NOT (FALSE)
        BEGIN
            INSERT INTO term_correction (application, sign, rating, comment, polarity)
                VALUES (OLD.application, -1, OLD.rating, OLD.comment, OLD.polarity);
        END;
CREATE TRIGGER terms_removed_before_change AFTER UPDATE ON feedback WHEN 
    OLD.status = 'approved' AND OLD.withdrawn_at IS NULL AND OLD.rating <> 0 AND OLD.comment <> ''
    AND OLD.created_at < (SELECT until FROM term_counts WHERE application = OLD.application)
 AND NOT (
    OLD.rating = NEW.rating AND OLD.comment = NEW.comment AND OLD.polarity IS NEW.polarity AND OLD.status = NEW.status
    AND (OLD.withdrawn_at IS NULL) = (NEW.withdrawn_at IS NULL) AND OLD.created_at = NEW.created_at
)
        BEGIN
            INSERT INTO term_correction (application, sign, rating, comment, polarity)
                VALUES (OLD.application, -1, OLD.rating, OLD.comment, OLD.polarity);
        END;
CREATE TRIGGER terms_added_after_change AFTER UPDATE ON feedback WHEN 
    NEW.status = 'approved' AND NEW.withdrawn_at IS NULL AND NEW.rating <> 0 AND NEW.comment <> ''
    AND NEW.created_at < (SELECT until FROM term_counts WHERE application = NEW.application)
 AND NOT (
    OLD.rating = NEW.rating AND OLD.comment = NEW.comment AND OLD.polarity IS NEW.polarity AND OLD.status = NEW.status
    AND (OLD.withdrawn_at IS NULL) = (NEW.withdrawn_at IS NULL) AND OLD.created_at = NEW.created_at
)
        BEGIN
            INSERT INTO term_correction (application, sign, rating, comment, polarity)
                VALUES (NEW.application, 1, NEW.rating, NEW.comment, NEW.polarity);
        END;
CREATE INDEX delivery_channel ON delivery (channel, state, late, due_at, id, application, type);
CREATE INDEX delivery_list ON delivery (application, channel, state, due_at, id, type) WHERE state <> 'pending';
CREATE INDEX delivery_dead ON delivery (application, channel, cause, due_at, id) WHERE state = 'dead';
CREATE INDEX comment_segment_time ON comment_segment (application, until, since);
CREATE TRIGGER comment_segment_gone AFTER DELETE ON comment_segment
    BEGIN DELETE FROM comment_words WHERE place BETWEEN OLD.number * 256 AND OLD.number * 256 + 255; END;
CREATE TRIGGER comment_added AFTER INSERT ON feedback
        WHEN NEW.comment <> ''
        AND NEW.created_at < (SELECT max(until) FROM comment_segment WHERE application = NEW.application)
    BEGIN 
    DELETE FROM comment_segment
        WHERE application = NEW.application AND until > NEW.created_at AND since <= NEW.created_at;
 END;
CREATE TRIGGER comment_removed AFTER DELETE ON feedback WHEN OLD.comment <> ''
    BEGIN 
    DELETE FROM comment_segment
        WHERE application = OLD.application AND until > OLD.created_at AND since <= OLD.created_at;
 END;
CREATE TRIGGER comment_changed AFTER UPDATE OF comment, tags ON feedback
        WHEN OLD.comment <> NEW.comment OR OLD.tags <> NEW.tags AND OLD.comment <> ''
    BEGIN 
    DELETE FROM comment_segment
        WHERE application = OLD.application AND until > OLD.created_at AND since <= OLD.created_at;
 END;
CREATE TRIGGER feedback_counted AFTER INSERT ON feedback
    WHEN NEW.status = 'approved' AND NEW.withdrawn_at IS NULL AND NOT EXISTS (SELECT 1 FROM uncounted)
    BEGIN 
        INSERT INTO counter VALUES (NEW.application, 'slot', ifnull(NEW.agent_id, ''), (NEW.created_at / 900000000), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0)), (NEW.application, 'hour', ifnull(NEW.agent_id, ''), (NEW.created_at / 3600000000 % 24), NEW.rating = 1, NEW.rating = -1, NEW.rating = 0, NEW.comment <> '', length(NEW.comment), NEW.polarity IS NOT NULL, ifnull(NEW.polarity, 0), ifnull(NEW.subjectivity, 0))
        ON CONFLICT (application, span, agent_id, bucket) DO UPDATE SET positive = positive + excluded.positive, negative = negative + excluded.negative, neutral = neutral + excluded.neutral, comments = comments + excluded.comments, comment_characters = comment_characters + excluded.comment_characters, sentiments = sentiments + excluded.sentiments, polarity = polarity + excluded.polarity, subjectivity = subjectivity + excluded.subjectivity;
     END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('term_correction',0);
INSERT INTO "sqlite_sequence" VALUES('comment_segment',2);
COMMIT;
PRAGMA application_id = 1215458158;
PRAGMA user_version = 11;
PRAGMA journal_mode = WAL;
