// The AI SDK, as it comes from its registry, asks the API at argv[2] with the key in LORADEX_API_KEY; prints one JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, jsonSchema, streamText } from "ai";

const loradex = createOpenAICompatible({
  name: "loradex",
  baseURL: process.argv[2],
  apiKey: process.env.LORADEX_API_KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const asked = { model: loradex("loradex"), prompt: "Is it late?", maxOutputTokens: 3, maxRetries: 0 };
const choices = { loradex: { choices: ["yes", "no"] } };

async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return { status: error.statusCode, retryable: error.isRetryable, error: error.data?.error };
  }
}

const told = {};
const whole = await generateText(asked);
told.whole = { text: whole.text, reason: whole.finishReason, usage: whole.usage };
const stream = streamText(asked);
told.pieces = [];
for await (const piece of stream.textStream) told.pieces.push(piece);
told.streamed = { reason: await stream.finishReason, usage: await stream.usage };
const ranked = await generateText({ ...asked, providerOptions: { loradex: { loradex: choices.loradex } } });
told.ranked = ranked.text;
told.unknown = await refusal(() => generateText({ ...asked, model: loradex("gpt-4o") }));
told.long = await refusal(() => generateText({ ...asked, prompt: "long ".repeat(400) }));
const schema = jsonSchema({
  type: "object",
  properties: { late: { type: "boolean" } },
  required: ["late"],
  additionalProperties: false,
});
told.object = (await generateObject({ ...asked, maxOutputTokens: 40, schema })).object;
const vectors = await embedMany({ model: loradex.textEmbeddingModel("loradex"), values: ["dark", "light"] });
told.vectors = vectors.embeddings.map((one) => one.length);
console.log(JSON.stringify(told));
