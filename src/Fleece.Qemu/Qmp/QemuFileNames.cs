// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Fleece.Qemu.Qmp;

/// <summary>Names of files as QEMU writes them.</summary>
internal static class QemuFileNames
{
    // QEMU's QAPI reference, "BlockdevOptions" and "Device URL Syntax": what is opened with other options than a file name alone is
    // described by them.
    private const string Description = "json:";

    // An image over its file, and some filters between them.
    private const int MaximumDepth = 16;

    /// <summary>The file that a name or a description means; the text itself where it describes storage that is no file.</summary>
    public static string? FileOf(string? text)
    {
        if (text?.StartsWith(Description, StringComparison.Ordinal) != true)
        {
            return text;
        }

        try
        {
            using var options = JsonDocument.Parse(text.AsMemory(Description.Length));
            return Find(options.RootElement, depth: 0) ?? text;
        }
        catch (JsonException)
        {
            return text; // QEMU cuts descriptions of more than 4 KiB.
        }
    }

    private static string? Find(JsonElement options, int depth)
    {
        if (options.ValueKind != JsonValueKind.Object || depth == MaximumDepth)
        {
            return null;
        }

        if (Text(options, "driver") is null or "file" or "host_device" && Text(options, "filename") is { } name)
        {
            return name;
        }

        return Text(options, "file.driver") is null or "file" or "host_device" && Text(options, "file.filename") is { } dotted ? dotted
            : options.TryGetProperty("file", out JsonElement below) ? Find(below, depth + 1)
            : null;
    }

    private static string? Text(JsonElement options, string member) =>
        options.TryGetProperty(member, out JsonElement found) && found.ValueKind == JsonValueKind.String &&
        found.GetString() is { Length: > 0 } text ? text : null;
}
