// Google's own npm client uploads to the sandbox, in one request and in a session, and reads back what it uploaded.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';

// The client is installed under target/, where this file's own imports do not look.
const require = createRequire(`${process.env.CLIENTS_NPM}/`);
const { google } = require('googleapis');
const CLIENT = `googleapis ${require('googleapis/package.json').version}`;
const SANDBOX = process.env.YOUTUBE_API_URL;
const PARTS = ['snippet', 'status'];

const auth = new google.auth.OAuth2({
  clientId: process.env.YOUTUBE_CLIENT_ID,
  clientSecret: process.env.YOUTUBE_CLIENT_SECRET,
  endpoints: { oauth2TokenUrl: process.env.GOOGLE_TOKEN_URL },
});
auth.setCredentials({ refresh_token: process.env.YOUTUBE_REFRESH_TOKEN });
const youtube = google.youtube({ version: 'v3', auth });
// The client heeds a `rootUrl` of the whole API in every request but an upload, so each request says it.
const there = { rootUrl: `${SANDBOX}/` };

// It ends like a line, which an upload in parts must not mistake for its own.
const noise = Buffer.from(Array.from({ length: 800_000 }, (_, i) => (i * i) >> 3));
const data = Buffer.concat([noise, Buffer.from('\r\n\r')]);

// The file piece by piece, as from a disk.
function* pieces() {
  for (let at = 0; at < data.length; at += 65_536) yield data.subarray(at, at + 65_536);
}

const metadata = (title) => ({
  snippet: { title, description: 'Uploaded by a client' },
  status: { privacyStatus: 'public', selfDeclaredMadeForKids: false },
});

const media = (mimeType = 'video/mp4') => ({ mimeType, body: Readable.from(pieces()) });

// What the client does by itself: metadata and file in one request.
async function uploadAtOnce(title) {
  const answer = await youtube.videos.insert({ part: PARTS, requestBody: metadata(title), media: media() }, there);
  return answer.data;
}

// The client has no resumable upload. Those who need one open the session with its `insert` at the upload address, and
// send the bytes with its credentials.
async function uploadInSession(title) {
  const opened = await youtube.videos.insert(
    { part: PARTS, requestBody: metadata(title), uploadType: 'resumable' },
    {
      url: `${SANDBOX}/upload/youtube/v3/videos`,
      headers: { 'X-Upload-Content-Length': String(data.length), 'X-Upload-Content-Type': 'video/mp4' },
    },
  );
  const url = opened.headers.location ?? opened.headers.get('location');
  const headers = { 'Content-Type': 'video/mp4', 'Content-Length': String(data.length) };
  const answer = await auth.request({ url, method: 'PUT', headers, data });
  assert.equal(answer.status, 201);
  return answer.data;
}

// One of the sandbox's own endpoints.
const ask = async (path) => (await fetch(`${SANDBOX}/sandbox/${path}`)).json();

async function checkVideo(video, title) {
  assert.equal(video.snippet.title, title);
  assert.equal(video.status.privacyStatus, 'public');
  const published = await ask('published');
  const posts = published.filter((post) => post.id === video.id);
  assert.equal(posts.length, 1);
  assert.equal(posts[0].text, title);
  assert.equal(posts[0].size, data.length);
  assert.equal(posts[0].sha256, createHash('sha256').update(data).digest('hex'));

  let item;
  for (let tries = 0; tries < 5 && item?.status.uploadStatus !== 'processed'; tries += 1) {
    const listed = await youtube.videos.list({ part: [...PARTS, 'fileDetails'], id: [video.id] }, there);
    [item] = listed.data.items;
  }
  assert.equal(item.status.uploadStatus, 'processed');
  assert.equal(item.snippet.title, title);
  assert.equal(item.fileDetails.fileSize, String(data.length));
}

async function checkLists(ids) {
  const listed = await youtube.videos.list({ part: ['status'], id: ids }, there);
  assert.deepEqual(listed.data.items.map((item) => item.id).sort(), [...ids].sort());
  const channels = await youtube.channels.list({ part: ['contentDetails'], mine: true }, there);
  const playlistId = channels.data.items[0].contentDetails.relatedPlaylists.uploads;
  const items = await youtube.playlistItems.list({ part: ['contentDetails'], playlistId, maxResults: 50 }, there);
  const found = items.data.items.map((item) => item.contentDetails.videoId);
  assert.deepEqual(ids.filter((id) => found.includes(id)), ids);
}

async function expectRefusal(request, reason) {
  await assert.rejects(request, (error) => {
    assert.equal(error.status, 400);
    assert.equal(error.errors?.[0]?.reason ?? error.response.data.error.errors[0].reason, reason);
    return true;
  });
}

async function main() {
  const ids = [];
  for (const [kind, upload] of [['multipart', uploadAtOnce], ['resumable', uploadInSession]]) {
    const title = `npm, ${kind} – ä`;
    const video = await upload(title);
    await checkVideo(video, title);
    ids.push(video.id);
    console.log(`${CLIENT}: ${kind} upload completed`);
  }
  await checkLists(ids);
  console.log(`${CLIENT}: videos, channels and playlistItems read`);

  const insert = (part, title, mimeType) =>
    youtube.videos.insert({ part, requestBody: metadata(title), media: media(mimeType) }, there);
  await expectRefusal(insert(PARTS, 'a < b'), 'invalidTitle');
  await expectRefusal(insert(['status'], 'No snippet'), 'badRequest');
  await expectRefusal(insert(PARTS, 'No video', 'text/plain'), 'badRequest');
  console.log(`${CLIENT}: refusals understood`);
  assert.deepEqual(await ask('violations'), [], 'rules that were broken without a refusal');
}

// An error of the client brings the whole request along; what it says is enough.
main().catch((error) => {
  console.error(`${CLIENT}: ${error.stack}`);
  process.exitCode = 1;
});
