// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>Says of an image that was moved with the files beside it where its sessions know it.</summary>
internal static class MovedImage
{
    /// <summary>The path that the log of a session has for the image; null where none has another than the present one.</summary>
    /// <remarks>Others can write to a marker, so it leads to logs in folders of this user's alone.</remarks>
    public static string? FindFormerPath(string imagePath)
    {
        try
        {
            foreach (MarkedSession marked in SessionMarker.Read(imagePath)?.Sessions ?? [])
            {
                string? place = Path.GetDirectoryName(marked.LogPath);
                if (Directory.Exists(place) && SessionFolder.Open(place) is var folder &&
                    marked.LogPath == folder.LogPathFor(marked.Id) && folder.Find(marked.Id) is { Description.ImagePath: { } former } &&
                    SessionMarker.PathFor(former) != SessionMarker.PathFor(imagePath))
                {
                    return former;
                }
            }
        }
        catch (BlockException)
        {
            // Another user's folder, or one that can't be read.
        }

        return null;
    }
}
