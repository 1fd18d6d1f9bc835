// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>How bytes become messages, against the reader of .NET, which is given all bytes at once.</summary>
public sealed class MessageReaderTests
{
    private const int Rounds = 1000;
    private const int MaximumBytes = 1 << 20;

    [Fact]
    public void MessagesAreTheSameHoweverTheBytesAreCut()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < Rounds; round++)
        {
            JsonObject[] messages = [.. Enumerable.Range(0, seeds.Next(6)).Select(_ => RandomObject(seeds, 4))];
            byte[] bytes = Encoding.UTF8.GetBytes(string.Concat(messages.Select(message => Write(seeds, message))));

            (List<JsonElement> read, bool isRefused) = Read(bytes, seeds);

            Assert.False(isRefused, $"round {round}");
            Assert.Equal(messages.Length, read.Count);
            Assert.All(messages.Zip(read), pair => Assert.True(
                JsonNode.DeepEquals(pair.First, JsonObject.Create(pair.Second)), $"round {round}: {pair.First} became {pair.Second}"));
        }
    }

    [Fact]
    public void SpoiltBytesAreRefusedAtTheFirstMessageThatTheySpoil()
    {
        Seeds seeds = Seeds.FromEnvironment();
        int spoilt = 0;
        for (int round = 0; round < Rounds; round++)
        {
            byte[] bytes = Spoil(
                seeds, Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 3).Select(_ => Write(seeds, RandomObject(seeds, 4))))));
            (List<string> expected, bool isInvalid) = Oracle(bytes);

            (List<JsonElement> read, bool isRefused) = Read(bytes, seeds);

            Assert.Equal(expected, read.Select(message => message.GetRawText()));
            Assert.True(isInvalid || !isRefused, $"round {round} refused what is only unfinished");
            spoilt += isRefused ? 1 : 0;
        }

        Assert.InRange(spoilt, Rounds / 10, Rounds - 1);
    }

    [Fact]
    public void AChainOfManyBackingImagesIsRead()
    {
        QmpMessageReader reader = new("socket", MaximumBytes);
        string text = string.Concat(Enumerable.Repeat("{\"backing-image\":", 1023)) + "{}" + new string('}', 1023);
        Feed(reader, Encoding.UTF8.GetBytes(text));

        Assert.True(reader.TryTake(out _, out int sizeBytes));
        Assert.Equal(text.Length, sizeBytes);
    }

    [Fact]
    public void AMessageThatIsNestedDeeperThanQemusIsRefused()
    {
        QmpMessageReader reader = new("socket", MaximumBytes);
        Feed(reader, Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", 1025))));

        Assert.Equal(QemuErrors.NotQmp, Assert.Throws<BlockException>(() => reader.TryTake(out _, out _)).Kind);
    }

    [Fact]
    public void BytesThatAreNoUtf8AreRefused()
    {
        QmpMessageReader reader = new("socket", MaximumBytes);
        Feed(reader, [.. "{\"a\":\""u8, 0xff, .. "\"}"u8]);

        Assert.Equal(QemuErrors.NotQmp, Assert.Throws<BlockException>(() => reader.TryTake(out _, out _)).Kind);
    }

    private static (List<JsonElement> Messages, bool IsRefused) Read(byte[] bytes, Seeds seeds)
    {
        QmpMessageReader reader = new("socket", MaximumBytes);
        List<JsonElement> messages = [];
        int longest = seeds.Pick(1, 7, 100, 100_000);
        try
        {
            for (int at = 0; at < bytes.Length;)
            {
                int lengthBytes = Math.Min(1 + seeds.Next(longest), bytes.Length - at);
                Feed(reader, bytes.AsSpan(at, lengthBytes));
                at += lengthBytes;
                while (reader.TryTake(out JsonElement message, out _))
                {
                    messages.Add(message);
                }
            }

            return (messages, false);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.NotQmp)
        {
            return (messages, true);
        }
    }

    private static void Feed(QmpMessageReader reader, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            Memory<byte> room = reader.GetRoom();
            int lengthBytes = Math.Min(room.Length, bytes.Length);
            bytes[..lengthBytes].CopyTo(room.Span);
            reader.Fill(lengthBytes);
            bytes = bytes[lengthBytes..];
        }
    }

    // The messages before the first fault, and whether there is a fault; bytes that are only unfinished have none.
    private static (List<string> Messages, bool IsInvalid) Oracle(ReadOnlySpan<byte> bytes)
    {
        List<string> messages = [];
        UTF8Encoding strict = new(false, throwOnInvalidBytes: true);
        try
        {
            while (true)
            {
                bytes = bytes.TrimStart(" \r\n\t"u8);
                if (bytes.IsEmpty)
                {
                    return (messages, false);
                }

                Utf8JsonReader reader = new(bytes, isFinalBlock: false, new JsonReaderState());
                if (bytes[0] != '{' || !reader.Read())
                {
                    return (messages, bytes[0] != '{');
                }

                if (!reader.TrySkip())
                {
                    return (messages, false);
                }

                ReadOnlySpan<byte> message = bytes[..(int)reader.BytesConsumed];
                string text = strict.GetString(message);
                ReadAllTexts(JsonElement.Parse(text));
                messages.Add(text);
                bytes = bytes[message.Length..];
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            return (messages, true);
        }
    }

    private static void ReadAllTexts(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    _ = property.Name;
                    ReadAllTexts(property.Value);
                }

                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in element.EnumerateArray())
                {
                    ReadAllTexts(item);
                }

                break;
            case JsonValueKind.String:
                _ = element.GetString();
                break;
        }
    }

    private static byte[] Spoil(Seeds seeds, byte[] bytes)
    {
        List<byte> spoilt = [.. bytes];
        for (int i = seeds.Next(4); i >= 0 && spoilt.Count > 0; i--)
        {
            int at = seeds.Next(spoilt.Count);
            switch (seeds.Next(4))
            {
                case 0:
                    spoilt[at] = (byte)seeds.Next(256);
                    break;
                case 1:
                    spoilt[at] = seeds.Pick("{}[]\",:\\"u8.ToArray());
                    break;
                case 2:
                    spoilt.RemoveRange(at, seeds.Next(spoilt.Count - at));
                    break;
                default:
                    spoilt.Insert(at, seeds.Pick("{}[]\"\\u\xd8"u8.ToArray()));
                    break;
            }
        }

        return [.. spoilt];
    }

    private static string Write(Seeds seeds, JsonObject message)
    {
        JsonSerializerOptions options = new()
        {
            WriteIndented = seeds.Chance(30),
            Encoder = seeds.Chance(50) ? System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping : null,
        };
        return message.ToJsonString(options) + seeds.Pick("\r\n", "\n", "", " \t");
    }

    private static JsonObject RandomObject(Seeds seeds, int depth)
    {
        JsonObject made = [];
        for (int i = seeds.Next(5); i > 0; i--)
        {
            made[RandomText(seeds)] = RandomValue(seeds, depth - 1);
        }

        return made;
    }

    private static JsonNode? RandomValue(Seeds seeds, int depth) => seeds.Next(depth > 0 ? 7 : 5) switch
    {
        0 => null,
        1 => seeds.Chance(50),
        2 => (long)seeds.NextBits(),
        3 => RandomText(seeds),
        4 => new string('x', seeds.Pick(0, 100, 5_000)),
        5 => new JsonArray([.. Enumerable.Range(0, seeds.Next(4)).Select(_ => RandomValue(seeds, depth - 1))]),
        _ => RandomObject(seeds, depth),
    };

    private static string RandomText(Seeds seeds) => string.Concat(Enumerable.Range(0, seeds.Next(8)).Select(
        _ => seeds.Pick("a", "\"", "\\", "{", "}", "[", "]", "\n", "\0", "ä", "\u2028", "🐖", "\\u", "/", ",")));
}
