// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Fleece.Backups.Content;

namespace Fleece.Backups.Manifests;

/// <summary>What a backup shows of its disk through its chain, in one SHA-256 (FIPS 180-4).</summary>
/// <remarks>
/// <para>It is that of these lines, each with a line feed behind it: the backup's identity, the size of its disk, the content digest of its
/// parent or "-", and each extent as it stands in the manifest. So two backups with one content digest have chains of the same identities,
/// ranges and data.</para>
/// <para>It is computed when the backup is made and kept from then on: a merge moves content from an older file into a newer one, and
/// changes nothing of what the newer one, or one that builds on it, shows.</para>
/// </remarks>
internal static class ContentDigest
{
    private const string NoParent = "-";

    /// <summary>The digest of a backup as it is made, in lower-case hexadecimal.</summary>
    public static string Of(Manifest manifest)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        AddLine(hash, manifest.Id.ToString());
        AddLine(hash, FormattableString.Invariant($"{manifest.SizeBytes}"));
        AddLine(hash, manifest.ParentContentDigest ?? NoParent);
        foreach (ContentExtent extent in manifest.Content)
        {
            AddLine(hash, ManifestFile.Describe(extent));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static void AddLine(IncrementalHash hash, string line) => hash.AppendData(Encoding.ASCII.GetBytes(line + "\n"));
}
