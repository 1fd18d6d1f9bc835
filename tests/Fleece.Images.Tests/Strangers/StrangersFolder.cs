// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Strangers;

/// <summary>A folder for a stranger's images, and another one with a file that is none of theirs.</summary>
internal sealed class StrangersFolder : IDisposable
{
    public const int DiskBytes = 1024 * 1024;
    private const byte VictimByte = 0x5a;

    private readonly TempFolder _root = new();

    public StrangersFolder()
    {
        Uploads = Directory.CreateDirectory(_root.File("uploads")).FullName;
        Elsewhere = Directory.CreateDirectory(_root.File("elsewhere")).FullName;
        Victim = Path.Combine(Elsewhere, "victim");
        Fill(Victim);
    }

    public TempFolder Root => _root;

    /// <summary>The folder of the images.</summary>
    public string Uploads { get; }

    /// <summary>The other folder.</summary>
    public string Elsewhere { get; }

    /// <summary>The file in the other folder; every byte of it is the same.</summary>
    public string Victim { get; }

    public string Upload(string name) => Path.Combine(Uploads, name);

    /// <summary>Makes a file with the victim's content.</summary>
    public static void Fill(string path) => File.WriteAllBytes(path, Content());

    /// <summary>Fails the test unless the victim is as it was.</summary>
    public void CheckVictim() => Assert.Equal(Content(), File.ReadAllBytes(Victim));

    /// <summary>True when the disk of an open image begins with the victim's bytes.</summary>
    public static async Task<bool> ShowsVictimAsync(IBlockNode node)
    {
        byte[] sector = new byte[512];
        await node.ReadAsync(0, sector, CancellationToken.None);
        return !sector.AsSpan().ContainsAnyExcept(VictimByte);
    }

    /// <summary>Opens an image read-only.</summary>
    public static async Task<IBlockNode> OpenAsync(string path, ImageFiles? files = null, UntrustedLimits? untrusted = null) =>
        (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true, Files = files, Untrusted = untrusted })).Node;

    /// <summary>Fails the test unless an image that is untrusted is refused for this reason.</summary>
    public static Task<BlockException> RefusesAsync(string kind, string path, UntrustedLimits? limits = null) =>
        Images.FailsAsync(kind, async () => await OpenAsync(path, untrusted: limits ?? UntrustedLimits.Default));

    public void Dispose() => _root.Dispose();

    private static byte[] Content()
    {
        byte[] content = new byte[DiskBytes];
        Array.Fill(content, VictimByte);
        return content;
    }
}
