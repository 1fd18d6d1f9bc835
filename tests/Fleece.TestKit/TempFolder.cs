// SPDX-License-Identifier: MIT
namespace Fleece.TestKit;

/// <summary>A new, empty folder that ends with the test, and everything in it.</summary>
public sealed class TempFolder : IDisposable
{
    /// <summary>Makes a folder below the parent, or below the system's folder for temporary files.</summary>
    public TempFolder(string? parent = null)
    {
        string name = $"fleece-test-{Guid.NewGuid():N}";
        Path = Directory.CreateDirectory(System.IO.Path.Combine(parent ?? System.IO.Path.GetTempPath(), name)).FullName;
    }

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>Full path of a name in the folder.</summary>
    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>A name in the folder that nothing has yet.</summary>
    public string NewFile(string extension = ".raw") => File($"{Guid.NewGuid():N}{extension}");

    /// <summary>Removes the folder and everything in it.</summary>
    public void Dispose() => Directory.Delete(Path, recursive: true);
}
