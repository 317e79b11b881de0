// An application that keeps its posts with Mongoose. It writes failed posts, lets postretry retry them, loads and saves
// them again between the passes, and checks what postretry has made of them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Mongoose is installed under target/, where this file's own imports do not look.
const require = createRequire(`${process.env.MONGOOSE_NPM}/`);
const mongoose = require('mongoose');
const { Schema } = mongoose;
const { EJSON } = mongoose.mongo.BSON;

const { POSTRETRY, FOLDER, URI } = process.env;
const assets = join(FOLDER, 'assets');
const settings = Object.fromEntries(
  readFileSync(join(FOLDER, 'sandbox.env'), 'utf8')
    .split('\n')
    .filter((line) => /^[A-Z_]+=/.test(line))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
);

// --- The application's models

const STATUSES = ['draft', 'approved', 'scheduled', 'posting', 'partial_posted', 'posted', 'failed', 'rejected'];
const PLATFORMS = ['tiktok', 'instagram', 'youtube_shorts', 'youtube'];

const text = { type: String, default: null };
const date = { type: Date, default: null };

const delivery = new Schema(
  {
    status: { type: String, enum: ['pending', 'posting', 'posted', 'failed', 'skipped'], default: 'pending' },
    mediaId: text,
    permalink: text,
    shareUrl: text,
    postedAt: date,
    error: text,
    lastFailedAt: date,
    retryCount: { type: Number, default: 0, min: 0 },
  },
  { _id: false },
);

// What every version of the application has had.
const common = {
  title: { type: String, required: true, maxlength: 200 },
  description: String,
  caption: String,
  platform: { type: String, enum: PLATFORMS },
  status: { type: String, enum: STATUSES, default: 'draft', index: true },
  contentType: { type: String, enum: ['video', 'image'], default: 'video' },
  videoPath: String,
  failedAt: Date,
  postedAt: Date,
  error: text,
  retryCount: { type: Number, default: 0 },
  internalNote: String,
  metrics: { views: { type: Number, default: 0 }, score: { type: Number, default: 0.5 } },
};

const current = {
  ...common,
  platforms: [{ type: String, enum: PLATFORMS }],
  isAiGenerated: { type: Boolean, default: false },
  scheduledAt: date,
  sheetTriggeredAt: date,
  uploadProgress: {
    publishId: text,
    percent: { type: Number, default: 0 },
    stage: { type: String, enum: ['idle', 'uploading', 'done'], default: 'idle' },
  },
  instagramContainerId: text,
  tiktokVideoId: text,
  tiktokShareUrl: text,
  instagramMediaId: text,
  instagramPermalink: text,
  youtubeVideoId: text,
  youtubeUrl: text,
};

const absent = { type: delivery, default: null };

// The same application with its statuses and hashtags stored in two ways.
const VARIANTS = [
  {
    name: 'objects',
    youtube: 'youtube_shorts',
    options: {},
    fields: {
      platformStatus: { tiktok: absent, instagram: absent, youtube_shorts: absent },
      hashtags: { tiktok: [String], instagram: [String], youtube_shorts: [String] },
    },
  },
  {
    name: 'maps',
    youtube: 'youtube',
    options: { strict: 'throw' },
    fields: {
      platformStatus: { type: Map, of: delivery, default: {} },
      hashtags: { type: Map, of: [String] },
    },
  },
];

// --- The posts

const hoursAgo = (hours) => new Date(Date.now() - hours * 3_600_000);

// The word that tells the posts apart, in the documents and on the platforms.
const titled = (word) => ({ title: `About ${word}.`, caption: `See ${word}.`, videoPath: 'a.mp4', status: 'failed' });

const failed = (hours, error) => ({ status: 'failed', lastFailedAt: hoursAgo(hours), error, retryCount: 2 });

function legacyPosts() {
  const failure = { failedAt: hoursAgo(1.5), error: 'the upload timed out' };
  return {
    legacy: { ...titled('legacy'), ...failure, platform: 'tiktok' },
    fileless: { ...titled('fileless'), ...failure, platform: 'youtube_shorts', videoPath: 'nowhere.mp4' },
  };
}

function currentPosts(youtube) {
  const tags = { tiktok: ['garden'] };
  const failure = { failedAt: hoursAgo(1.5), error: 'the upload timed out' };
  return {
    // The older shape as today's model writes it: with an empty list, and with statuses that say nothing.
    defaults: { ...titled('defaults'), ...failure, platform: 'tiktok', hashtags: tags },
    single: { ...titled('single'), ...failure, platforms: ['tiktok'], hashtags: tags },
    three: {
      ...titled('three'),
      platforms: ['tiktok', 'instagram', youtube],
      hashtags: tags,
      failedAt: hoursAgo(9),
      error: 'two platforms failed',
      tiktokVideoId: '7301',
      platformStatus: {
        tiktok: { status: 'posted', mediaId: '7301', shareUrl: 'https://example.com/7301', postedAt: hoursAgo(9) },
        instagram: failed(9, 'the account is banned'),
        [youtube]: failed(9, 'HTTP 503'),
      },
    },
    nullEntry: {
      ...titled('nullEntry'),
      platforms: ['tiktok', 'instagram'],
      failedAt: hoursAgo(3),
      error: 'TikTok failed',
      platformStatus: { tiktok: failed(3, 'HTTP 500'), instagram: null },
    },
    urlPath: {
      ...titled('urlPath'),
      videoPath: '/storage/videos/a.mp4',
      platforms: [youtube],
      failedAt: hoursAgo(3),
      platformStatus: { [youtube]: failed(3, 'no such file') },
    },
    // The failure is told nowhere but in the platform's status.
    dateless: {
      ...titled('dateless'),
      platforms: ['tiktok', youtube],
      platformStatus: { tiktok: { status: 'skipped' }, [youtube]: failed(3, 'HTTP 500') },
    },
    // These are the application's.
    partial: {
      ...titled('partial'),
      status: 'partial_posted',
      platforms: ['tiktok', youtube],
      platformStatus: { tiktok: failed(3, 'HTTP 500'), [youtube]: { status: 'posted', mediaId: 'abc' } },
    },
    sheet: {
      ...titled('sheet'),
      platforms: ['tiktok', 'instagram'],
      sheetTriggeredAt: hoursAgo(2),
      platformStatus: { tiktok: failed(3, 'HTTP 500'), instagram: { status: 'posted', mediaId: '18' } },
    },
    pending: {
      ...titled('pending'),
      platforms: ['tiktok', 'instagram'],
      platformStatus: { tiktok: { status: 'pending' }, instagram: { status: 'posting' } },
    },
  };
}

// --- What postretry may write

const IDS = {
  tiktok: ['tiktokVideoId', 'tiktokShareUrl'],
  instagram: ['instagramMediaId', 'instagramPermalink'],
  youtube_shorts: ['youtubeVideoId', 'youtubeUrl'],
  youtube: ['youtubeVideoId', 'youtubeUrl'],
};
const RETRY_STATE = [
  'retryCount', 'lastRetriedAt', 'permanentlyFailed', 'permanentlyFailedAt', 'failureCategory', 'retryNotBefore',
  'retryHistory', 'retryClaim', 'publishTicket',
];
const ROOT_OUTCOME = ['status', 'postedAt', 'error'];

// Each post that is not the application's own, with its deliveries and what each of them shows after each pass.
function expectations(youtube) {
  const posted = ['posted', 'posted', 'posted', 'posted'];
  const late = ['failed', 'failed', 'posted', 'posted'];
  return {
    legacy: { root: posted, deliveries: { tiktok: posted }, isOldShape: true },
    fileless: { root: ['failed', 'failed', 'failed', 'failed'], deliveries: {}, isOldShape: true },
    defaults: { root: posted, deliveries: { tiktok: posted }, isOldShape: true },
    single: { root: posted, deliveries: { tiktok: posted }, isOldShape: true },
    three: { root: late, deliveries: { instagram: late, [youtube]: late } },
    nullEntry: { root: ['failed', 'failed', 'failed', 'failed'], deliveries: { tiktok: posted } },
    urlPath: { root: posted, deliveries: { [youtube]: posted } },
    dateless: { root: posted, deliveries: { [youtube]: posted } },
  };
}

// A document without what postretry may have written to it so far.
function foreignFields(document, expected, pass) {
  const rest = structuredClone(document);
  if (!expected) return rest;
  delete rest.updatedAt;
  const isPosted = expected.root[pass] === 'posted';
  if (expected.isOldShape) {
    for (const field of [...RETRY_STATE, 'error']) delete rest[field];
  } else {
    delete rest.postretry;
  }
  if (isPosted) for (const field of ROOT_OUTCOME) delete rest[field];
  for (const [platform, statuses] of Object.entries(expected.deliveries)) {
    const fields = statuses[pass] === 'posted' ? ['status', 'postedAt', 'mediaId', 'permalink', 'shareUrl'] : [];
    if (statuses[pass] === 'posted') for (const field of IDS[platform]) delete rest[field];
    // A delivery that is no object any more is a difference.
    const status = expected.isOldShape ? null : rest.platformStatus?.[platform];
    if (status) for (const field of [...fields, 'error']) delete status[field];
  }
  return rest;
}

const retryState = (document) => ({
  postretry: document.postretry,
  root: RETRY_STATE.map((field) => document[field]),
});

// --- Checks: all are made, and all that fail are listed

const problems = [];
let checks = 0;

async function check(what, assertion) {
  checks += 1;
  try {
    await assertion();
  } catch (error) {
    if (error instanceof TypeError) error.message = `something is missing: ${error.message}`;
    problems.push(what);
    console.error(`FAILED: ${what}\n${error.message.replace(/^/gm, '    ')}`);
  }
}

async function sandbox(method, path, body) {
  const answer = await fetch(`${settings.TIKTOK_API_URL}/sandbox/${path}`, { method, body: JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${path}: ${JSON.stringify(json)}`);
  return json;
}

function retryPass(uri) {
  const environment = {
    ...settings,
    MONGODB_URI: uri,
    POST_ASSET_ROOT: assets,
    POST_RETRY_GAP: '0s',
    POST_RETRY_POLL: '10ms',
    POST_RETRY_WAIT: '5s',
    INSTAGRAM_SETTLE: '20ms',
  };
  const ran = spawnSync(POSTRETRY, ['run', '--json'], { cwd: FOLDER, env: environment, encoding: 'utf8' });
  if (ran.error) throw ran.error;
  let result = null;
  try {
    result = JSON.parse(ran.stdout);
  } catch {
    // The check of the exit code shows what was printed instead.
  }
  return { code: ran.status, stderr: ran.stderr, posts: result?.posts ?? [], malformed: result?.malformed ?? [] };
}

// --- The scenario

class Application {
  constructor(variant, connection, uri) {
    Object.assign(this, { name: variant.name, youtube: variant.youtube, uri });
    const options = { timestamps: true, collection: 'marketing_posts', autoIndex: false };
    this.Legacy = connection.model('LegacyPost', new Schema(common, options));
    const schema = new Schema({ ...current, ...variant.fields }, { ...options, ...variant.options });
    this.Post = connection.model('Post', schema);
    this.expected = expectations(variant.youtube);
    this.ids = {};
  }

  async write() {
    for (const [word, fields] of Object.entries(legacyPosts())) this.ids[word] = (await this.Legacy.create(fields))._id;
    for (const [word, fields] of Object.entries(currentPosts(this.youtube))) {
      this.ids[word] = (await this.Post.create(fields))._id;
    }
  }

  async load(word) {
    const document = await this.Post.findById(this.ids[word]);
    assert.ok(document, `${word} is gone`);
    return document;
  }

  // A document as the database has it, every value with its BSON type.
  async stored(word) {
    const document = await this.Post.collection.findOne({ _id: this.ids[word] }, { promoteValues: false });
    return JSON.parse(EJSON.stringify(document, { relaxed: false }));
  }

  async allStored() {
    const all = {};
    for (const word of Object.keys(this.ids)) all[word] = await this.stored(word);
    return all;
  }

  check(what, assertion) {
    return check(`${this.name}: ${what}`, assertion);
  }

  async pass(pass, code) {
    const ran = retryPass(this.uri);
    await this.check(`pass ${pass + 1} exits with ${code}`, () =>
      assert.equal(ran.code, code, `${ran.code}, not ${code}\n${ran.stderr}${JSON.stringify(ran.posts, null, 1)}`));
    await this.check(`pass ${pass + 1} finds nothing malformed`, () => assert.deepEqual(ran.malformed, []));
    await this.check(`pass ${pass + 1} breaks no rule of a platform`, async () =>
      assert.deepEqual(await sandbox('GET', 'violations'), []));
    return ran;
  }

  // What a pass has made of the documents, as the database has them and as the application reads them.
  async compare(before, pass) {
    for (const word of Object.keys(this.ids)) {
      const expected = this.expected[word];
      const after = await this.stored(word);
      await this.check(`pass ${pass + 1} changes nothing foreign in ${word}`, () =>
        assert.deepEqual(foreignFields(after, expected, pass), foreignFields(before[word], expected, pass)));
      const document = await this.load(word);
      await this.check(`${word} is valid after pass ${pass + 1}`, () => document.validate());
      if (!expected) continue;
      await this.check(`${word} is ${expected.root[pass]} after pass ${pass + 1}`, () => {
        assert.equal(document.status, expected.root[pass]);
        if (document.status === 'posted') {
          assert.ok(document.postedAt instanceof Date, 'no postedAt');
          assert.equal(document.error, null);
        }
      });
      for (const [platform, statuses] of Object.entries(expected.deliveries)) {
        await this.check(`${word} is ${statuses[pass]} on ${platform} after pass ${pass + 1}`, () =>
          this.compareDelivery(document, platform, statuses[pass], expected.isOldShape));
      }
    }
  }

  compareDelivery(document, platform, status, isOldShape) {
    const [id, url] = IDS[platform].map((field) => document.get(field));
    const delivered = isOldShape ? null : document.get(`platformStatus.${platform}`);
    if (status === 'posted') {
      assert.ok(id, 'the root has no id');
      assert.ok(url, 'the root has no address');
    } else {
      assert.ok(!id, `the root has the id ${id}`);
    }
    if (isOldShape) return;
    assert.equal(delivered.status, status);
    if (status === 'posted') {
      assert.equal(delivered.mediaId, id);
      assert.equal(platform === 'instagram' ? delivered.permalink : delivered.shareUrl, url);
      assert.ok(delivered.postedAt instanceof Date, 'no postedAt');
      assert.equal(delivered.error, null);
    } else {
      assert.ok(delivered.error, 'no error');
    }
  }

  // The retry state of the post for three platforms, on the two that have failed.
  async compareRetryState(pass) {
    const { postretry } = await this.Post.collection.findOne({ _id: this.ids.three });
    await this.check(`the ban uses no retry in pass ${pass + 1}`, () => {
      const { retryCount, failureCategory, permanentlyFailed, retryClaim, retryHistory } = postretry.instagram;
      assert.equal(retryCount, 0);
      assert.equal(failureCategory, 'account_restricted');
      assert.ok(!permanentlyFailed, 'permanently failed');
      assert.ok(!retryClaim, 'still claimed');
      assert.equal(retryHistory.at(-1).outcome, 'deferred');
    });
    await this.check(`the outage uses a retry in pass ${pass + 1}`, () => {
      const { retryCount, failureCategory, lastRetriedAt, retryClaim, retryHistory } = postretry[this.youtube];
      assert.equal(retryCount, pass + 1);
      assert.equal(failureCategory, 'platform_outage');
      assert.ok(lastRetriedAt instanceof Date, 'no lastRetriedAt');
      assert.ok(!retryClaim, 'still claimed');
      assert.equal(retryHistory.length, pass + 1);
    });
    await this.check('a delivery that is not failed has no retry state', () => assert.ok(!postretry.tiktok));
  }

  // What an application does between the passes: it notes something on every post, and once it writes the status of a
  // platform as a whole, as it does when it has tried that platform.
  async saveAll(note) {
    for (const word of Object.keys(this.ids)) {
      const before = await this.stored(word);
      const document = await this.load(word);
      document.internalNote = note;
      if (word === 'three') {
        const status = document.get('platformStatus.instagram').toObject();
        document.set('platformStatus.instagram', { ...status, retryCount: status.retryCount + 1 });
      }
      await this.check(`${word} can be saved (${note})`, () => document.save());
      const after = await this.stored(word);
      await this.check(`${word} keeps its retry state when it is saved (${note})`, () => {
        assert.equal(after.internalNote, note);
        assert.deepEqual(retryState(after), retryState(before));
      });
    }
  }

  async comparePublished(pass) {
    const published = await sandbox('GET', 'published');
    const wanted = [];
    for (const [word, { deliveries }] of Object.entries(this.expected)) {
      for (const [platform, statuses] of Object.entries(deliveries)) {
        if (statuses[pass] === 'posted') wanted.push(`${word} on ${platform.replace('_shorts', '')}`);
      }
    }
    const found = published.map((post) => {
      const words = Object.keys(this.ids).filter((word) => post.text.includes(` ${word}.`));
      return `${words.join('/')} on ${post.platform}`;
    });
    await this.check(`each post is public once at most after pass ${pass + 1}`, () =>
      assert.deepEqual(found.sort(), wanted.sort()));
    return published;
  }

  async run() {
    await sandbox('POST', 'reset');
    await sandbox('POST', 'knobs', { tiktokWindowMs: 0 });
    const ban = { error: { message: 'restricted', type: 'OAuthException', code: 25, error_subcode: 2207050 } };
    const outage = { error: { code: 503, message: 'down', errors: [{ message: 'down', reason: 'backendError' }] } };
    const fault = (on, status, body) =>
      sandbox('POST', 'faults', {
        on, about: ' three.', times: 2, act: { kind: 'answer', status, body: JSON.stringify(body) },
      });
    await fault('instagram.create', 400, ban);
    await fault('youtube.session', 503, outage);

    await this.write();
    // A post that was never saved again is compared with what was first written.
    let before = await this.allStored();
    await this.pass(0, 3);
    await this.compare(before, 0);
    await this.compareRetryState(0);
    await this.comparePublished(0);
    await this.check('a file that is missing uses a retry', async () => {
      const { retryCount, failureCategory } = await this.Post.collection.findOne({ _id: this.ids.fileless });
      assert.deepEqual({ retryCount, failureCategory }, { retryCount: 1, failureCategory: 'missing_asset' });
    });

    await this.saveAll('after the first pass');
    before = await this.allStored();
    const second = await this.pass(1, 3);
    await this.check('pass 2 retries only the two that failed', () =>
      assert.deepEqual(
        second.posts.map((post) => [post.id, post.platform]).sort(),
        [[String(this.ids.three), 'instagram'], [String(this.ids.three), 'youtube_shorts']],
      ));
    await this.compare(before, 1);
    await this.compareRetryState(1);
    await this.comparePublished(1);

    await this.saveAll('after the second pass');
    before = await this.allStored();
    await this.pass(2, 0);
    await this.compare(before, 2);
    const published = await this.comparePublished(2);
    await this.check('Instagram has the hashtags of TikTok, as the post has none for it', () => {
      const { text } = published.find((post) => post.platform === 'instagram');
      assert.ok(text.includes('#garden'), text);
    });

    await this.saveAll('after the third pass');
    before = await this.allStored();
    const last = await this.pass(3, 0);
    await this.check('pass 4 has nothing to do', () => assert.deepEqual(last.posts, []));
    await this.compare(before, 3);
    await this.comparePublished(3);
  }
}

// The address of a database of this name at the same server.
function addressOf(database) {
  const [, hosts, options = ''] = /^(mongodb(?:\+srv)?:\/\/[^/?]+)(?:\/[^?]*)?(\?.*)?$/.exec(URI);
  return `${hosts}/${database}${options}`;
}

// The first bytes of an MP4 file, and some more.
const video = Buffer.concat([Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0mp42isom', 'latin1'), Buffer.alloc(100_000, 7)]);
mkdirSync(join(assets, 'storage/videos'), { recursive: true });
writeFileSync(join(assets, 'a.mp4'), video);
writeFileSync(join(assets, 'storage/videos/a.mp4'), video);

for (const variant of VARIANTS) {
  const uri = addressOf(`postretry_mongoose_${process.pid}_${variant.name}`);
  let connection;
  try {
    connection = await mongoose.createConnection(uri, { serverSelectionTimeoutMS: 5000 }).asPromise();
  } catch (error) {
    console.error(`mongoose: cannot connect to MongoDB: ${error.message}`);
    process.exit(1);
  }
  try {
    await new Application(variant, connection, uri).run();
  } finally {
    await connection.dropDatabase();
    await connection.close();
  }
}

console.log(`Mongoose ${mongoose.version}: ${checks - problems.length} of ${checks} checks passed`);
if (problems.length > 0) process.exitCode = 1;
