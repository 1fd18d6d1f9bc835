// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text.Json;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Sessions.Backups;

namespace Fleece.Sessions.Repositories;

/// <summary>Writes manifests so that each is there whole or not at all, and reads them.</summary>
/// <remarks>Threading. All members are safe from any thread; writers hold the repository's lock.</remarks>
internal static class ManifestFile
{
    /// <summary>What the field "fleeceManifest" says.</summary>
    public const int Version = 1;

    // About 12 million digests, which is 48 TiB of data in one backup.
    private const long MaximumBytes = 1L << 30;

    /// <summary>Writes a manifest in one step, in place of the one that is there.</summary>
    public static void Write(string path, Manifest manifest)
    {
        WritePartial(path, manifest);
        FileNames.Move(path + RepositoryNames.Partial, path, overwrite: true);
    }

    /// <summary>Writes the manifest, durably, under the name it has before its backup is one.</summary>
    public static void WritePartial(string path, Manifest manifest)
    {
        string partialPath = path + RepositoryNames.Partial;
        FileNames.Delete(partialPath);
        using LocalFile file = LocalFile.Create(partialPath, 0);
        file.Write(0, Encode(manifest));
        file.Flush();
    }

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ManifestInvalid"/>, or why it can't be read.</exception>
    public static Manifest Read(string path)
    {
        byte[] bytes;
        using (LocalFile file = LocalFile.Open(path, isReadOnly: true))
        {
            if (file.LengthBytes > MaximumBytes)
            {
                throw ManifestReader.Invalid(path, $"it has {file.LengthBytes} bytes, and {MaximumBytes} is the limit");
            }

            bytes = new byte[file.LengthBytes];
            file.Read(0, bytes);
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes);
            return new ManifestReader(path, document.RootElement).Read();
        }
        catch (JsonException e)
        {
            throw ManifestReader.Invalid(path, $"it is no JSON: {e.Message}");
        }
    }

    private static ReadOnlySpan<byte> Encode(Manifest manifest)
    {
        ArrayBufferWriter<byte> buffer = new();
        using Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n" });
        json.WriteStartObject();
        json.WriteNumber("fleeceManifest", Version);
        json.WriteNumber("number", manifest.Number);
        json.WriteString("id", manifest.Id);
        json.WriteString("chainId", manifest.ChainId);
        WriteOptional(json, "parentId", manifest.ParentId?.ToString());
        json.WriteString("file", manifest.FileName);
        json.WriteString("format", manifest.Format.ToString());
        json.WriteString("compression", manifest.Compression.ToString());
        json.WriteString("instant", manifest.InstantAt);
        json.WriteString("completed", manifest.CompletedAt);
        json.WriteString("disk", manifest.DiskName);
        json.WriteString("session", manifest.SessionId);
        WriteOptional(json, "bitmap", manifest.BitmapName);
        json.WriteNumber("sizeBytes", manifest.SizeBytes);
        json.WriteNumber("fileSizeBytes", manifest.FileSizeBytes);
        json.WriteString("state", manifest.State.ToString());
        WriteOptional(json, "successorId", manifest.SuccessorId?.ToString());
        json.WriteStartArray("content");
        foreach (ContentExtent extent in manifest.Content)
        {
            json.WriteRawValue(Encode(extent));
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return buffer.WrittenSpan;
    }

    // On a line of its own, so that people and line tools can read it.
    private static string Encode(ContentExtent extent) => extent.Digest is { } digest
        ? $"[{extent.Range.OffsetBytes},{extent.Range.LengthBytes},\"{Convert.ToHexStringLower(digest)}\"]"
        : $"[{extent.Range.OffsetBytes},{extent.Range.LengthBytes}]";

    private static void WriteOptional(Utf8JsonWriter json, string name, string? value)
    {
        if (value is null)
        {
            json.WriteNull(name);
        }
        else
        {
            json.WriteString(name, value);
        }
    }
}
