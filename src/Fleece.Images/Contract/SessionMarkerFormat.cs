// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fleece.Images;

/// <summary>The text of a marker: JSON in UTF-8, and a last line with the SHA-256 (FIPS 180-4) of all lines before it.</summary>
/// <remarks><c>sed '/^sha256 /,$d' FILE | sha256sum</c> computes it. It tells damage and edits, and any program can compute it. Behind the
/// text lies a <see cref="ImageStamp"/>.</remarks>
internal static class SessionMarkerFormat
{
    /// <summary>The version that is written, and read.</summary>
    public const int Version = 2;

    /// <summary>Most bytes of a marker: that of thousands of sessions.</summary>
    public const int MaximumBytes = 4 * 1024 * 1024;

    private const int HexLength = SHA256.HashSizeInBytes * 2;

    private static readonly string Writer = typeof(SessionMarkerFormat).Assembly.GetName().Version!.ToString(fieldCount: 3);

    private static readonly JsonSerializerOptions Options = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // Else a plus sign is six characters; no browser reads this.
        WriteIndented = true,
        NewLine = "\n",
    };

    private static ReadOnlySpan<byte> SealName => "sha256 "u8;

    private static int SealBytes => SealName.Length + HexLength + 1;

    /// <summary>A marker as text.</summary>
    public static byte[] Encode(IReadOnlyList<MarkedSession> sessions) =>
        Seal(JsonSerializer.Serialize(new Document(Version, Writer, sessions), Options) + "\n");

    /// <summary>A text with its seal.</summary>
    internal static byte[] Seal(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return [.. bytes, .. SealName, .. Encoding.ASCII.GetBytes(Convert.ToHexStringLower(SHA256.HashData(bytes))), (byte)'\n'];
    }

    /// <summary>Reads a marker.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="fault">What is wrong, as a part of a sentence; null when nothing is.</param>
    /// <returns>The sessions; none when something is wrong.</returns>
    public static IReadOnlyList<MarkedSession> Parse(ReadOnlySpan<byte> bytes, out string? fault) => Parse(bytes, out _, out fault);

    /// <inheritdoc cref="Parse(ReadOnlySpan{byte}, out string?)"/>
    /// <param name="bytes">The whole file.</param>
    /// <param name="stamp">What lies behind the text; null for none.</param>
    /// <param name="fault">What is wrong, as a part of a sentence; null when nothing is.</param>
    public static IReadOnlyList<MarkedSession> Parse(ReadOnlySpan<byte> bytes, out ImageStamp? stamp, out string? fault)
    {
        fault = null;
        stamp = null;
        int textBytes = FindTextEnd(bytes);
        if (textBytes != 0)
        {
            int stampBytes = Math.Min(bytes.Length, ImageStamp.OffsetBehind(textBytes));
            stamp = ImageStamp.Decode(bytes[stampBytes..]);
            bytes = bytes[textBytes..stampBytes].ContainsAnyExcept((byte)0) ? [] : bytes[..textBytes];
        }

        if (bytes.Length < SealBytes || bytes.Length > MaximumBytes || !HasSeal(bytes))
        {
            fault = "it is damaged, cut short or edited: its last line is not the checksum of the lines before it";
            return [];
        }

        ReadOnlySpan<byte> text = bytes[..^SealBytes];
        try
        {
            using JsonDocument json = JsonDocument.Parse(text.ToArray());
            if (json.RootElement.ValueKind == JsonValueKind.Object &&
                json.RootElement.TryGetProperty("fleeceSessions", out JsonElement field) && field.TryGetInt32(out int version) &&
                version != Version)
            {
                fault = $"{(version > Version ? "a newer" : "an older")} Fleece wrote it, in version {version} of the format, and " +
                    $"this one knows version {Version}";
                return [];
            }

            if (JsonSerializer.Deserialize<Document>(text, Options) is { FleeceSessions: Version, Sessions: { } sessions } &&
                sessions.All(session => session is { Name: not null, LogPath: not null }))
            {
                return sessions;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // As below.
        }

        fault = "it is not what a marker is";
        return [];
    }

    /// <summary>Where the text of a marker ends; 0 when its last line is not there.</summary>
    public static int FindTextEnd(ReadOnlySpan<byte> bytes)
    {
        int at = bytes.IndexOf("\nsha256 "u8); // No other line begins so: JSON has no line break within a text.
        return at < 0 || bytes.Length - at - 1 < SealBytes ? 0 : at + 1 + SealBytes;
    }

    private static bool HasSeal(ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<byte> seal = bytes[^SealBytes..];
        return seal.StartsWith(SealName) && seal[^1] == (byte)'\n' &&
            seal.Slice(SealName.Length, HexLength).SequenceEqual(
                Encoding.ASCII.GetBytes(Convert.ToHexStringLower(SHA256.HashData(bytes[..^SealBytes]))));
    }

    private sealed record Document(int FleeceSessions, string WrittenBy, IReadOnlyList<MarkedSession> Sessions);
}
