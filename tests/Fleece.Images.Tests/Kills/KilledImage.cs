// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Journal;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Kills;

/// <summary>An image file and its journal as a killed process leaves them, with the content that its disk had.</summary>
internal sealed record KilledImage(string Path, ImageFormat Format, byte[] Content)
{
    private const int DiskBytes = 3 * 1024 * 1024;

    /// <summary>The journal's file.</summary>
    public string JournalPath => Path + JournalLayout.Extension;

    /// <summary>Makes an image, writes to it without a flush, and ends as if killed.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="format">The image's format.</param>
    /// <param name="seeds">Decides what is written.</param>
    public static async ValueTask<KilledImage> MakeAsync(TempFolder folder, ImageFormat format, Seeds seeds)
    {
        byte[] content = new byte[DiskBytes];
        KilledImage killed = await MakeAsync(folder, format, DiskBytes, async node =>
        {
            await WriteAsync(node, content, 0, seeds.Bytes(100_000));
            await node.FlushAsync(CancellationToken.None);
            await WriteAsync(node, content, DiskBytes - 100_000, seeds.Bytes(100_000));
            for (int i = 0; i < 8; i++)
            {
                await WriteAsync(node, content, seeds.Next(DiskBytes - 50_000), seeds.Bytes(seeds.Next(50_000) + 1));
            }
        });
        return killed with { Content = content };
    }

    /// <summary>As <see cref="MakeAsync(TempFolder, ImageFormat, Seeds)"/>, with requests of the caller's; both files are put back as they
    /// were behind these.</summary>
    public static async ValueTask<KilledImage> MakeAsync(
        TempFolder folder, ImageFormat format, long sizeBytes, Func<IBlockNode, ValueTask> make)
    {
        string path = folder.NewFile($".{format}".ToLowerInvariant());
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = format,
            SizeBytes = sizeBytes,
            BlockSizeBytes = format == ImageFormat.Vhdx ? 1024 * 1024 : null,
        });
        IBlockNode node = await OpenAsync(path, format);
        await make(node);
        KilledImage killed = new(path, format, new byte[sizeBytes]);
        await killed.KillAsync(node);
        return killed;
    }

    /// <summary>Closes an image that <see cref="OpenAsync"/> gave, and leaves both files as they are now.</summary>
    public async ValueTask KillAsync(IBlockNode node)
    {
        byte[] image = LockedFile.Read(Path);
        byte[] journal = LockedFile.Read(JournalPath);
        await node.DisposeAsync();

        // In place, because the journal is of this file and no other.
        using (FileStream stream = new(Path, FileMode.Open, FileAccess.Write))
        {
            stream.Write(image);
            stream.SetLength(image.Length);
        }

        WriteJournal(journal);
    }

    /// <summary>Opens an image for writing, with a journal, which stays when the image is closed.</summary>
    public static async ValueTask<IBlockNode> OpenAsync(string path, ImageFormat format) =>
        (await Image.OpenAsync(path, new ImageOpenOptions { Format = format, KeepsJournal = true, LeavesJournal = true })).Node;

    /// <summary>True when the image has everything: its journal says that it was closed, with nothing but its header.</summary>
    public bool IsClosed => StoredJournal.Read(ReadJournal()) is { Fault: null, State: JournalState.Closed } &&
        new FileInfo(JournalPath).Length == JournalLayout.HeaderBytes;

    /// <summary>Puts a journal beside the image, as if it had just been written.</summary>
    public void WriteJournal(byte[] bytes) => File.WriteAllBytes(JournalPath, bytes);

    /// <summary>The journal's bytes.</summary>
    public byte[] ReadJournal() => LockedFile.Read(JournalPath);

    /// <summary>Opens the image to read, and reads its disk.</summary>
    /// <returns>The content, and why the journal did not hold.</returns>
    public async ValueTask<(byte[] Content, string? Lost)> ReadAsync()
    {
        (IBlockNode node, _) = await Image.OpenAsync(Path, new ImageOpenOptions { Format = Format, IsReadOnly = true });
        await using (node)
        {
            byte[] content = new byte[Content.Length];
            await node.ReadAsync(0, content, CancellationToken.None);
            return (content, ((IJournaledImage)node).LostJournal);
        }
    }

    private static async ValueTask WriteAsync(IBlockNode node, byte[] content, int offsetBytes, byte[] data)
    {
        await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
        data.CopyTo(content, offsetBytes);
    }
}
