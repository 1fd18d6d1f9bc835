// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Repositories;

/// <summary>The identity of a repository: JSON in the file that its jobs lock, so that it goes where the folder goes.</summary>
/// <remarks>
/// <para>It is a UUID of version 8 (RFC 9562, section 5.8). Its first 8 hexadecimal digits stand for the path at which the repository
/// was begun, so that a job tells a repository that is missing there from one that is new; the rest is random. The default bitmap is
/// named after the first 16.</para>
/// <para>Threading. Not changed once it is made; reading and writing hold the repository.</para>
/// </remarks>
/// <param name="Id">The UUID.</param>
internal sealed record RepositoryIdentity(Guid Id)
{
    private const int Version = 1;
    private const string VersionField = "fleeceRepository";
    private const string IdField = "id";

    // Many times what the two fields take.
    private const int MaximumBytes = 4096;

    private const string BitmapPrefix = "backup-";
    private const int PathDigits = 8;
    private const int BitmapDigits = 16;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    /// <summary>The default bitmap of the repository's jobs.</summary>
    public string BitmapName => BitmapPrefix + Id.ToString("N")[..BitmapDigits];

    /// <summary>A new identity for a repository.</summary>
    /// <param name="folderPath">Full path of its folder, without a separator at its end.</param>
    public static RepositoryIdentity NewAt(string folderPath)
    {
        string random = Guid.NewGuid().ToString("N");
        return new RepositoryIdentity(Guid.ParseExact($"{DigitsOf(folderPath)}{random[PathDigits..12]}8{random[13..]}", "N"));
    }

    /// <summary>True when the repository was begun at the path. Otherwise its folder was moved, or is a copy.</summary>
    public bool IsFrom(string folderPath) => BitmapName.StartsWith(BitmapPrefix + DigitsOf(folderPath), StringComparison.Ordinal);

    /// <summary>True for a name that jobs give bitmaps by themselves, or did: "backup-FOLDER" before repositories had identities.
    /// </summary>
    public static bool IsDefaultBitmap(string name) => name.StartsWith(BitmapPrefix, StringComparison.OrdinalIgnoreCase);

    /// <summary>True for the name of a default bitmap of a repository that was begun at the path.</summary>
    public static bool IsBitmapOfPath(string name, string folderPath) =>
        string.Equals(name, BitmapPrefix + Path.GetFileName(folderPath), StringComparison.OrdinalIgnoreCase) ||
        (name.Length == BitmapPrefix.Length + BitmapDigits && IsDefaultBitmap(name) &&
            !name.AsSpan(BitmapPrefix.Length).ContainsAnyExcept(HexDigits) &&
            name.AsSpan(BitmapPrefix.Length).StartsWith(DigitsOf(folderPath), StringComparison.Ordinal));

    /// <summary>Reads the identity of a repository.</summary>
    /// <param name="file">The repository's lock, which is held.</param>
    /// <param name="fault">Why what is there can't be used; null when it can, and when there is none.</param>
    /// <returns>The identity; null when there is none.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.Unsupported"/>: a newer version of Fleece has written it; or why the
    /// file can't be read.</exception>
    public static RepositoryIdentity? Read(LocalFile file, out string? fault)
    {
        ArgumentNullException.ThrowIfNull(file);
        fault = null;
        long lengthBytes = file.LengthBytes;
        if (lengthBytes > MaximumBytes)
        {
            fault = $"'{file.Path}' has {lengthBytes} bytes, and {MaximumBytes} is the limit";
            return null;
        }

        byte[] bytes = new byte[lengthBytes];
        file.Read(0, bytes);
        return bytes.Length == 0 ? null : Parse(file.Path, bytes, out fault);
    }

    /// <summary>Writes the identity of a repository, durably. A job that is killed meanwhile leaves none, or one that can't be used, and
    /// the next job takes a new one.</summary>
    /// <param name="file">The repository's lock, which is held.</param>
    /// <exception cref="BlockException">What the system reports.</exception>
    public void Write(LocalFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        file.SetLength(0);
        file.Write(0, Encoding.UTF8.GetBytes($"{{\n  \"{VersionField}\": {Version},\n  \"{IdField}\": \"{Id}\"\n}}\n"));
        file.Flush();
    }

    /// <summary>Takes an identity out of a repository that had none before.</summary>
    /// <param name="file">The repository's lock, which is held.</param>
    public static void Forget(LocalFile file) => file.SetLength(0);

    private static RepositoryIdentity? Parse(string path, ReadOnlyMemory<byte> bytes, out string? fault)
    {
        fault = $"'{path}' is not what Fleece has written";
        try
        {
            using JsonDocument json = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 4 });
            if (json.RootElement.ValueKind != JsonValueKind.Object ||
                !json.RootElement.TryGetProperty(VersionField, out JsonElement field) ||
                field.ValueKind != JsonValueKind.Number || !field.TryGetInt32(out int version))
            {
                return null;
            }

            if (version > Version)
            {
                throw new BlockException(
                    BlockErrors.Unsupported,
                    $"'{path}' says that the repository is of version {version}, and this version of Fleece knows {Version}. Use the " +
                    "version of Fleece that wrote it, or name another repository.",
                    path,
                    operation: "read");
            }

            if (version != Version || !json.RootElement.TryGetProperty(IdField, out JsonElement text) ||
                text.ValueKind != JsonValueKind.String || !Guid.TryParseExact(text.GetString(), "D", out Guid id))
            {
                return null;
            }

            fault = null;
            return new RepositoryIdentity(id);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null; // Not JSON, or not Unicode.
        }
    }

    private static string DigitsOf(string folderPath)
    {
        string path = OperatingSystem.IsWindows() ? folderPath.ToUpperInvariant() : folderPath;
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(path)))[..PathDigits];
    }
}
