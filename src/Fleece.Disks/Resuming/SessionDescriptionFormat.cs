// SPDX-License-Identifier: MIT
using System.Numerics;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks.Resuming;

/// <summary>A session's description as JSON in UTF-8. The head of the log has its checksum.</summary>
internal static class SessionDescriptionFormat
{
    /// <summary>Most bytes of a description: long paths, and thousands of consumers.</summary>
    public const int MaximumBytes = 1024 * 1024;

    private static readonly string Writer = typeof(SessionDescriptionFormat).Assembly.GetName().Version!.ToString(fieldCount: 3);

    private static readonly JsonSerializerOptions Options = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // Else a plus sign is six characters; no browser reads this.
        Converters = { new JsonStringEnumConverter(allowIntegerValues: false) },
    };

    /// <summary>A description as text; this Fleece becomes its writer.</summary>
    public static byte[] Encode(SessionDescription description) =>
        JsonSerializer.SerializeToUtf8Bytes(description with { WrittenBy = Writer }, Options);

    /// <summary>Reads a description.</summary>
    /// <returns>Null for bytes that are none.</returns>
    public static SessionDescription? Parse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return JsonSerializer.Deserialize<SessionDescription>(bytes, Options) is { } description && IsSound(description)
                ? description
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>True for two that say the same.</summary>
    public static bool AreEqual(SessionDescription left, SessionDescription right) =>
        JsonSerializer.SerializeToUtf8Bytes(left, Options).AsSpan().SequenceEqual(JsonSerializer.SerializeToUtf8Bytes(right, Options));

    // These size an allocation, or lead to a file.
    private static bool IsSound(SessionDescription description) =>
        description.DiskSizeBytes > 0 &&
        description.GranuleSizeBytes is >= Granules.MinimumSizeBytes and <= Granules.MaximumSizeBytes &&
        BitOperations.IsPow2(description.GranuleSizeBytes) &&
        description.DiskSizeBytes / description.GranuleSizeBytes < Granules.MaximumCount &&
        description.Consumers.Count <= SessionRecord.MaximumConsumers && !description.Consumers.Contains(null) &&
        description.Parents.All(parent => parent is { Path: not null }) &&
        Path.IsPathFullyQualified(description.ImagePath) && Path.IsPathFullyQualified(description.TempPath);
}
