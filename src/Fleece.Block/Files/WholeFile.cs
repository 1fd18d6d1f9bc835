// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>Writes small files so that each is there whole or not at all, after a crash of the system too.</summary>
/// <remarks>
/// <para>The bytes go into a file beside the one that is meant, are flushed, and then get its name, and the folder is flushed. A process
/// that is killed meanwhile leaves the old file, and possibly the one beside it, which the next writer takes away.</para>
/// <para>Threading. All calls are safe from any thread; one writer at a time for a path. Errors. <see cref="BlockException"/>.</para>
/// </remarks>
internal static class WholeFile
{
    /// <summary>What the name of a file ends with until it is whole.</summary>
    public const string Partial = ".partial";

    /// <summary>Writes a file in one step, in place of the one that is there.</summary>
    /// <remarks>After an error the old file is there as it was. One error comes later than the new name: that of the folder's flush. Then
    /// the new file is there, and a crash of the system may bring the old one back.</remarks>
    public static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        try
        {
            WritePartial(path, bytes);
            Publish(path, overwrite: true);
        }
        catch
        {
            FileNames.TryDelete(path + Partial);
            throw;
        }
    }

    /// <summary>Writes a file, durably, under the name that it has before it is published.</summary>
    public static void WritePartial(string path, ReadOnlySpan<byte> bytes)
    {
        FileNames.Delete(path + Partial);
        using LocalFile file = LocalFile.Create(path + Partial, 0);
        file.Write(0, bytes);
        file.Flush();
    }

    /// <summary>Gives a file that <see cref="WritePartial"/> has written its name.</summary>
    public static void Publish(string path, bool overwrite) => FileNames.Move(path + Partial, path, overwrite);
}
