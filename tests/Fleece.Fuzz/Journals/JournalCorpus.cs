// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Images;
using Fleece.Images.Journal;
using Fleece.TestKit;

namespace Fleece.Fuzz.Journals;

/// <summary>Journals as killed processes leave them, and their images.</summary>
/// <remarks>They are kept as files, because a journal and an image have random ids.</remarks>
internal static class JournalCorpus
{
    /// <summary>The folder of the images, beside that of the journals.</summary>
    public const string ImageFolder = "journal-image";

    private const int DiskBytes = 16 * 1024 * 1024;

    /// <summary>Each with its name.</summary>
    public static IEnumerable<(string Name, byte[] Bytes)> Make()
    {
        foreach (ImageFormat format in (ImageFormat[])[ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx])
        {
            using TempFolder folder = new();
            string path = folder.File("vm");
            (byte[] image, byte[] journal) = MakeAsync(path, format).AsTask().GetAwaiter().GetResult();
            string name = $"{format}".ToLowerInvariant();
            yield return (name, journal);
            yield return ($"../{ImageFolder}/{name}", image);
        }
    }

    private static async ValueTask<(byte[] Image, byte[] Journal)> MakeAsync(string path, ImageFormat format)
    {
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = format,
            SizeBytes = DiskBytes,
            BlockSizeBytes = format == ImageFormat.Vhdx ? 1024 * 1024 : null,
        });
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions { Format = format, KeepsJournal = true });
        await using (node)
        {
            // Some of it flushed; the rest in blocks that are new since.
            Seeds random = new(18);
            for (int write = 0; write < 12; write++)
            {
                if (write == 4)
                {
                    await node.FlushAsync(CancellationToken.None);
                }

                await node.WriteAsync(write * (DiskBytes / 12 / 512 * 512L), random.Bytes(512), WriteFlags.None, CancellationToken.None);
            }

            return (Read(path), Read(path + JournalLayout.Extension));
        }
    }

    // The framework's own calls would ask for a lock, and the image has one.
    private static byte[] Read(string path)
    {
        string copyPath = path + ".copy";
        Process.Start("cp", [path, copyPath]).WaitForExit();
        return File.ReadAllBytes(copyPath);
    }
}
